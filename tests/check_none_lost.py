"""Fails when a test was silently lost: `check_none_lost.py JUNIT.xml [--without-long]`, after a run of pytest.

With `--without-long` the run was that of `make test`, which leaves out the tests that are marked as long. Long tests that
were not begun because the time for them was over (tests/conftest.py) are listed, each of them, and are not lost.

Lost is: a test function that stands in a file and was not run, or was skipped or marked as an expected
failure; one that is shadowed by a second of the same name; a module of the pipeline without an nf-test file;
a script of bin/ that no test names.
"""

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_TIME = "the time for long tests is over"


def written_tests(path: Path) -> list[str]:
    """The names of the tests that stand in a file (`test_x`, `TestX.test_x`), in order, repeats included."""
    names = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            names.append(node.name)
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
            names += [f"{node.name}.{name}" for name in methods if name.startswith("test")]
    return names


def long_tests(path: Path) -> set[str]:
    """The tests of a file that are marked as long: all, or one by one, but not only with some of their values."""
    body = ast.parse(path.read_text()).body
    if any(ast.unparse(node) == "pytestmark = pytest.mark.long" for node in body):
        return set(written_tests(path))
    marked = [node for node in body if isinstance(node, ast.FunctionDef)]
    return {node.name for node in marked if "pytest.mark.long" in map(ast.unparse, node.decorator_list)}


def run_tests(junit: Path) -> dict[str, list[str]]:
    """File stem -> the names of its tests that ran to an end: neither skipped nor expected to fail."""
    ran: dict[str, list[str]] = {}
    for case in ElementTree.parse(junit).iter("testcase"):
        if case.find("skipped") is None:
            stem, *classes = re.sub(r"^.*?(?=\btest_)", "", case.get("classname", "")).split(".")
            ran.setdefault(stem, []).append(".".join([*classes, case.get("name", "").split("[")[0]]))
    return ran


def skipped_tests(junit: Path) -> dict[str, str]:
    """Tests that were skipped or are expected to fail -> why."""
    cases = [(case, case.find("skipped")) for case in ElementTree.parse(junit).iter("testcase")]
    return {
        f"{case.get('classname')}::{case.get('name')}": skipped.get("message", "")
        for case, skipped in cases
        if skipped is not None
    }


def not_begun(junit: Path) -> list[str]:
    """Long tests that were not begun because the time for them was over."""
    return [name for name, why in skipped_tests(junit).items() if NO_TIME in why]


def lost(root: Path, junit: Path, *, without_long: bool = False) -> list[str]:
    """Everything that is lost, one line each; of a run without the tests that are marked as long, if so."""
    files = sorted((root / "tests").rglob("test_*.py"))
    ran = run_tests(junit)
    found = [f"{name}: skipped or expected to fail" for name, why in skipped_tests(junit).items() if NO_TIME not in why]
    late = {name.split("[")[0].rsplit(".", 1)[-1] for name in not_begun(junit)}
    for path in files:
        names = written_tests(path)
        long = long_tests(path)
        done = set(ran.get(path.stem, [])) | (long if without_long else set())
        done |= {name for name in long if f"{path.stem}::{name}" in late}
        found += [f"{path.relative_to(root)}: {name} was not run" for name in dict.fromkeys(names) if name not in done]
        found += [
            f"{path.relative_to(root)}: {name} stands there twice"
            for name in sorted({n for n in names if names.count(n) > 1})
        ]
        if not names:
            found.append(f"{path.relative_to(root)}: no test in it")
    modules = sorted(path.parent for path in (root / "modules" / "local").glob("*/main.nf"))
    for module in modules:
        nf_test = module / "tests" / "main.nf.test"
        if not nf_test.is_file() or not re.search(r"^\s*test\(", nf_test.read_text(), re.MULTILINE):
            found.append(f"modules/local/{module.name}: no test in tests/main.nf.test")
    tests = "\n".join(path.read_text() for path in files)
    for script in sorted((root / "bin").rglob("*.py")):
        if script.stem != "__init__" and not re.search(rf"\b{script.stem}\b", tests):
            found.append(f"{script.relative_to(root)}: no test names it")
    return found


def main(arguments: list[str]) -> int:
    """Print what is lost; 1 when anything is."""
    junit = Path(arguments[0])
    found = lost(ROOT, junit, without_long="--without-long" in arguments)
    for line in found:
        print(f"lost: {line}", file=sys.stderr)
    late = not_begun(junit)
    for name in late:
        print(f"not run, because {NO_TIME} (run make test-all): {name}", file=sys.stderr)
    if not found:
        ran = sum(map(len, run_tests(junit).values()))
        print(f"{ran} tests ran, {len(late)} long ones were not begun in time, none was lost")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
