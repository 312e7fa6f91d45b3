"""What the tests of the report share."""

import pytest

from inputs.report_inputs import write_inputs
from report_runs import add_figure


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """What every step gives the report, with two figures."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    add_figure(folder / "plot_qc/published", "qc/figures/violins")
    add_figure(folder / "plot_cell_type/published", "cell_types/b_cell/figures/volcano")
    return folder
