"""Own code that a library could replace says so, and why, in one line at the top; the table of decisions has it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bin/immune_aging"
TABLE = ROOT / "docs/decisions/0004-own-code-and-libraries.md"
LINE = re.compile(r"^# Own code: .+$", re.MULTILINE)


def test_each_module_that_is_kept_gives_its_reason_and_no_other_does():
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and line.endswith("| kept |")]
    kept = {name for row in rows for name in re.findall(r"`(\w+/\w+\.py)`", row.split(" | ")[0])}
    given = {
        str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if len(LINE.findall(path.read_text())) == 1
    }
    assert len(rows) > 10 and kept == given


def test_what_the_table_names_is_there():
    for name in re.findall(r"`(\w+/\w+\.py)`", TABLE.read_text()):
        assert (PACKAGE / name).is_file() or (ROOT / name).is_file(), name
