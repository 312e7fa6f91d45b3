"""What the report says of memory and time: sums and peaks of the tasks, by step."""

import pytest

from immune_aging.report.resources import read_tasks, resource_rows
from immune_aging.task.command_line import BadInput

HEADER = "process\ttag\tcpus\tasked_bytes\tpeak_kib\tmilliseconds\tcpu_percent\n"


def test_a_step_is_the_sum_of_its_tasks_and_the_peak_of_the_largest(tmp_path):
    table = tmp_path / "tasks.tsv"
    table.write_text(
        HEADER
        + "QC_CELLS\tshard-000\t1\t2147483648\t1048576\t60000\t100.0\n"
        + "QC_CELLS\tshard-001\t1\t4294967296\t3145728\t120000\t50.0\n"
        + "PCA\tall\t1\t8589934592\t524288\t600000\t100.0\n"
    )
    pca, qc = resource_rows(read_tasks(table))
    assert pca["step"] == "PCA" and pca["cpu_minutes"] == 10 and pca["used_gib"] == 0.5 and pca["share"] == 6.25
    assert qc == {
        "step": "QC_CELLS", "tasks": 2, "cpu_minutes": 2.0, "longest_minutes": 2.0, "used_gib": 3.0, "asked_gib": 4.0,
        "share": 75.0,
    }  # fmt: skip


def test_no_task_gives_no_row_and_another_table_is_refused(tmp_path):
    table = tmp_path / "tasks.tsv"
    table.write_text(HEADER)
    assert resource_rows(read_tasks(table)) == []
    table.write_text("process\ttag\n")
    with pytest.raises(BadInput, match="column 'cpus' is missing"):
        resource_rows(read_tasks(table))
