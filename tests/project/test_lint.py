"""`nextflow lint` finds what it should: it needs a patch (containers/lint) to report at all."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("workflow { println 'x' }", 0, "1 file had no errors"),
        ("workflow { println x }", 1, "`x` is not defined"),
        ("workflow {\n    def y = 1\n    println 'x'\n}", 0, "Variable was declared but not used"),
        ("workflow {\n    for (i in 1..3) { println i }\n}", 1, "`for` loops are no longer supported"),
        ("workflow {\n    def y = 1\n    println x\n}", 1, "`x` is not defined"),
    ],
    ids=["nothing", "error", "warning", "old syntax", "both"],
)
def test_the_strict_parser_reports(tmp_path, script, code, words):
    (tmp_path / "main.nf").write_text(script + "\n")
    command = ["sh", ROOT / "containers" / "bootstrap.sh", "lint", "main.nf"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr
