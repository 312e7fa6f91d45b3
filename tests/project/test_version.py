"""The version has one source, `manifest.version` in nextflow.config, and its copies are equal to it."""

import re

import pytest

from engine import ROOT

VERSION = re.search(r"^ *version +\= '([^']+)'$", (ROOT / "nextflow.config").read_text(), re.MULTILINE)[1]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("CITATION.cff", r"^version: (\S+)$"),
        (".nf-core.yml", r"^  version: (\S+)$"),
        ("CHANGELOG.md", r"^## \[(\d[^\]]*)\]"),
    ],
)
def test_every_copy_of_the_version_is_that_of_the_manifest(name, pattern):
    assert re.search(pattern, (ROOT / name).read_text(), re.MULTILINE)[1] == VERSION


def test_no_code_holds_a_version_of_its_own():
    """Steps that write it are given the manifest's."""
    for path in ROOT.glob("bin/**/*.py"):
        assert not re.search(r"^__version__|^VERSION\b", path.read_text(), re.MULTILINE), path
    exporting = (ROOT / "modules/local/export_h5ad/main.nf").read_text()
    assert "workflow.manifest.version" in exporting
