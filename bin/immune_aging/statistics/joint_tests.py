"""Tables of joint tests, which ask whether any of several coefficients is not 0 and so have no direction."""

import pandas as pd

# Column of de.tsv, there only if the test is a joint one: how many hypotheses were tested at once.
JOINT = "n_hypotheses"


def why_no_direction(table: pd.DataFrame) -> str:
    """Why a table of genes has no direction to rank genes by; '' where it has one.

    Parameters
    ----------
    table
        de.tsv.
    """
    if JOINT not in table or not len(table):
        return ""
    return (
        f"the tested term has {int(table[JOINT].iloc[0])} coefficients, tested at once: such a test has no direction "
        "to rank or part genes by"
    )
