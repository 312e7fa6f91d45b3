"""gsea.tsv: what the preranked test describes beside the p and q of the test that allows for co-expression."""

from collections.abc import Sequence

import pandas as pd

from immune_aging.statistics.gene_fits import GeneFits
from immune_aging.statistics.gene_sets import GeneSets
from immune_aging.statistics.multiple_testing import ALPHA
from immune_aging.statistics.running_sums import surest_first
from immune_aging.statistics.set_tests import LARGEST_SHARE, TEST_COLUMNS, competitive_tests, not_too_large
from immune_aging.task.skipped import CannotFit

COLUMNS = (
    "gene_set", "es", "nes", "direction", "correlation", "p_value", "q_value", "p_value_preranked",
    "q_value_preranked", "size", "leading_edge",
)  # fmt: skip


def set_test_table(fits: GeneFits, symbols: Sequence[str], sets: GeneSets) -> tuple[pd.DataFrame, dict]:
    """The set tests that the samples carry, and what the summary says of them.

    Parameters
    ----------
    fits
        Of the tested genes.
    symbols
        One per gene of `fits`, each once.
    sets
        Measured symbols of each set.

    Returns
    -------
    `TEST_COLUMNS`, without the sets that cannot be tested; set_test, set_test_reason (why there is none, or ''),
    df_residual, n_sets_too_large, notes.
    """
    fitting = not_too_large(sets, len(symbols))
    facts = {"set_test": "camera", "set_test_reason": "", "df_residual": fits.df_residual}
    facts |= {"n_sets_too_large": len(sets) - len(fitting), "notes": []}
    try:
        table = competitive_tests(fits, symbols, fitting)
    except CannotFit as reason:
        note = f"Gene sets have no p and q of the set test: {reason}."
        return pd.DataFrame(columns=list(TEST_COLUMNS)), facts | {"set_test_reason": str(reason), "notes": [note]}
    if len(fitting) < len(sets):
        note = (
            f"{len(sets) - len(fitting)} gene sets hold more than {LARGEST_SHARE:.0%} of the tested genes and have no "
            "p and q: where so many genes move together the others move against them, which the set test does not know."
        )
        facts["notes"] = [note]
    return table, facts


def enrichment_table(preranked: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """gsea.tsv, sorted; the columns of the set test are missing for sets that it did not test.

    Parameters
    ----------
    preranked
        Of `preranked.prerank`.
    tests
        Of `set_test_table`.
    """
    table = preranked.merge(tests, on="gene_set", how="left", validate="one_to_one")
    table = table.astype({"correlation": float, "p_value": float, "q_value": float})
    return surest_first(table)[list(COLUMNS)].reset_index(drop=True)


def enrichment_facts(table: pd.DataFrame) -> dict[str, int]:
    """Numbers of called sets, for the summary.

    Parameters
    ----------
    table
        gsea.tsv.
    """
    called = table["q_value"] < ALPHA
    return {
        "n_up": int((called & (table["direction"] == "up")).sum()),
        "n_down": int((called & (table["direction"] == "down")).sum()),
        "n_preranked_significant": int((table["q_value_preranked"] < ALPHA).sum()),
    }
