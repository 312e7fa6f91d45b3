"""A table of unbalanced donors, with an outcome that depends on all of their columns, for tests of designs."""

import numpy as np
import pandas as pd


def unbalanced_donors(n: int = 90) -> pd.DataFrame:
    """Unbalanced donors: more old women, ages that are far from 0, three sites."""
    rng = np.random.default_rng(4)
    sex = rng.choice(["female", "male"], n, p=[0.7, 0.3])
    table = pd.DataFrame(
        {
            "donor_id": [f"d{i}" for i in range(n)],
            "age_years": np.where(sex == "female", rng.uniform(45, 90, n), rng.uniform(20, 75, n)),
            "sex": sex,
            "site": rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]),
            "bmi": rng.normal(26, 4, n),
            "run": rng.integers(1, 5, n).astype(float),
        },
        index=[f"s{i:02d}" for i in range(n)],
    )
    table["y"] = (
        rng.normal(size=n)
        + (sex == "male") * (3 - 0.08 * table["age_years"])
        + 0.001 * (table["age_years"] - 40) ** 2
        + (table["site"] == "c") * table["bmi"] * 0.2
        + 0.3 * table["run"]
    )
    return table
