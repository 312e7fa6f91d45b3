"""The columns that the user names for donor, sample, cell type, age and sex, as options of a step.

A cohort that is not about age, or does not tell the sexes, has no such column: `none` stands for it. Then the role has
no column, and no column of the file is taken for it, whatever it is called.
"""

import argparse
from pathlib import Path

from immune_aging.cohort.ages import DROP, MIDPOINT
from immune_aging.cohort.examination import ROLES

NO_COLUMN = "none"  # of --age_column and --sex_column


def add_column_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where in a cohort's file the counts and the donors are."""
    parser.add_argument("--counts-layer", required=True)
    parser.add_argument("--round-counts", action="store_true", help="round counts that are fractions")
    parser.add_argument("--donor-column", required=True)
    parser.add_argument("--sample-column", default="", help="tells a donor's samples apart; '' where each has one")
    parser.add_argument("--cell-type-column", required=True)
    parser.add_argument("--age-column", required=True, help="or none")
    parser.add_argument("--age-ranges", choices=(MIDPOINT, DROP), default=MIDPOINT, help="of ages given as intervals")
    parser.add_argument("--doublet-column", default="", help="of cells, with calls of doublets; '' where there is none")
    parser.add_argument("--sex-column", required=True, help="or none")
    parser.add_argument("--donor-table", type=Path, help="facts about donors, or samples of donors (CSV or TSV)")


def columns_of(args: argparse.Namespace) -> dict[str, str]:
    """Name of the obs column of each of `ROLES`, and of the sample where one is named, from the options.

    Age and sex have none where the option is `none`.
    """
    columns = {role: getattr(args, f"{role}_column") for role in ROLES}
    named = {role: name for role, name in columns.items() if role not in ("age", "sex") or name != NO_COLUMN}
    return named | ({"sample": args.sample_column} if args.sample_column else {})
