#!/usr/bin/env python3
"""Take a shard's quality control from the table of all cells that an earlier run published.

In: a shard of raw counts and `cells.parquet` of the whole cohort. Out: the rows of the shard's cells, in its order, as
QC_CELLS wrote them.
"""

import argparse
from pathlib import Path

from immune_aging.cohort.shard_file import read_shard
from immune_aging.task.checkpoints import check_same_cells, read_parquet, write_parquet, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True, help="quality control of all cells")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    shard, cells = read_shard(args.shard), read_parquet(args.cells)
    # Donors are whole within a shard, and both are sorted by donor.
    own = cells[cells["donor_id"].isin(set(shard.donors))].reset_index(drop=True)
    check_same_cells(shard.cell_ids, own["cell_id"], args.shard, args.cells)
    write_parquet(own, args.output)
    write_versions("kept_cells", ["h5py", "pandas", "pyarrow"], args.versions)


if __name__ == "__main__":
    run(main)
