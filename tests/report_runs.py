"""Reports that tests write: from made-up results of every step, with figures among them."""

from engine import ROOT
from immune_aging.figures.style import new_figure, save_figure
from report import main

TEMPLATE = ROOT / "assets/report"


def trees_of(folder):
    """The published folders of the tasks in a folder of inputs."""
    return sorted(path / "published" for path in folder.iterdir() if (path / "published").is_dir())


def add_figure(folder, stem):
    """A small figure whose title and description look like markup."""
    figure = new_figure(3, 2)
    figure.subplots().plot([1, 2], [3, 4])
    save_figure(figure, folder / stem, title="A <b>title</b>", description='Says "5 > 4" & more')


def write(inputs, out, trees=None, parameters=None):
    """Write the report of these inputs into a folder; returns its text."""
    main(
        [
            "--published",
            *map(str, trees_of(inputs) if trees is None else trees),
            "--parameters",
            str(parameters or inputs / "params.json"),
            "--step-versions",
            *map(str, sorted((inputs / "versions").iterdir())),
            "--tasks",
            str(inputs / "tasks.tsv"),
            "--made-from",
            str(inputs / "made_from.json"),
            "--template",
            str(TEMPLATE),
            "--pipeline-info",
            str(out / "info"),
            "--output",
            str(out / "report.html"),
            "--versions",
            str(out / "v.json"),
        ]
    )
    return (out / "report.html").read_text()
