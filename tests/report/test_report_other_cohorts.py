"""The report's section on other cohorts: what replicates, with a figure; none in a run that compares none."""

from pathlib import Path

import pytest

from immune_aging import results
from immune_aging.report.other_cohorts import other_cohorts
from plot_cohorts import main as plot_cohorts
from report_runs import trees_of, write


@pytest.fixture(scope="module")
def compared(inputs) -> list[Path]:
    """The trees of a run with `--compare_with`, figure included."""
    place = inputs / "other_cohort"
    plot_cohorts(
        ["--published", str(place / "compared/published"), "--output", str(place / "drawn/replication/figures"),
         "--versions", str(place / "v.json")]
    )  # fmt: skip
    return [*trees_of(inputs), place / "compared/published", place / "drawn"]


def test_the_section_has_a_row_for_each_direction_and_a_figure(inputs, compared, tmp_path):
    text = write(inputs, tmp_path, compared)
    section = text[text.index('<section id="other-cohorts">') :]
    section = section[: section.index("</section>")]
    assert section.count('<tr><th scope="row">B cell</th>') == 2 and "Effects here and in other_cohort" in section
    assert (
        '<a href="#other-cohorts">' in text and "have no counterpart" in text[: text.index('<section id="findings">')]
    )


def test_a_run_that_compares_none_has_no_section(inputs, tmp_path):
    assert "other-cohorts" not in write(inputs, tmp_path)
    assert other_cohorts(results.Results({}), {}) == {}
