"""tests/run_nf_tests.sh runs the nf-test files in two halves at once, and fails when one fails or a test was lost."""

import os
import subprocess

import pytest

from engine import ROOT

# Stands in for nf-test: says what it was asked for, and writes down one test for each of the first `$TESTS` halves. As
# nf-test does, it deletes the scripts of all tests in its folder at its end; the first half ends last.
NF_TEST = """#!/bin/sh
echo "asked: $*"
while [ "$#" -gt 0 ]; do
    case $1 in
        --shard) half=${2%/*}; shift ;;
        --junitxml) report=$2; shift ;;
    esac
    shift
done
[ -d "$(dirname "$NFT_WORKDIR")" ] || exit 3
[ -f modules/local/step/tests/main.nf.test ] || exit 4
touch ".nf-test-$half.nf"
if [ "${half:-}" = 1 ]; then
    while [ ! -e "$(dirname "$NFT_WORKDIR")/ended" ]; do sleep 0.05; done
    [ -f .nf-test-1.nf ] || exit 5
fi
rm -f .nf-test-*.nf
[ "${half:-}" != 2 ] || touch "$(dirname "$NFT_WORKDIR")/ended"
if [ -n "${report:-}" ]; then
    if [ "$half" -le "$TESTS" ]; then echo '<testcase name="a">' > "$report"; else : > "$report"; fi
    [ "$half" != "${FAILS:-}" ] || exit 1
fi
"""


@pytest.fixture
def run(tmp_path):
    """Runs the script in a project of one module with two tests; `more` are variables for the stand-in."""
    project = tmp_path / "project"
    for folder in ("tests/inputs", "subworkflows", "modules/local/step/tests", "bin"):
        (project / folder).mkdir(parents=True)
    script = project / "tests/run_nf_tests.sh"
    script.write_bytes((ROOT / "tests/run_nf_tests.sh").read_bytes())
    (project / "tests/inputs/small_inputs.py").write_text("import sys\nopen('made', 'w').write(sys.argv[1])\n")
    text = 'nextflow_process {\n    test("one") {\n    }\n    test("two") {\n    }\n}\n'
    (project / "modules/local/step/tests/main.nf.test").write_text(text)
    (project / "bin/nf-test").write_text(NF_TEST)
    (project / "bin/nf-test").chmod(0o755)

    def call(*arguments, **more):
        environ = {**os.environ, "PATH": f"{project}/bin:{os.environ['PATH']}", **more}
        command = ["sh", str(script), *arguments]
        return subprocess.run(
            command, cwd=project, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    return call


def test_all_are_run_in_two_halves(run):
    done = run(TESTS="2")
    assert done.returncode == 0, done.stdout + done.stderr
    asked = sorted(line.split("--shard ")[1][:3] for line in done.stdout.splitlines() if line.startswith("asked"))
    assert asked == ["1/2", "2/2"] and done.stdout.endswith("2 of 2 nf-tests ran\n")


def test_a_test_that_neither_half_ran_is_a_failure(run):
    done = run(TESTS="1")
    assert done.returncode == 1 and "1 of 2 nf-tests ran" in done.stdout


@pytest.mark.parametrize("half", ["1", "2"])
def test_a_half_that_fails_is_a_failure(run, half):
    assert run(TESTS="2", FAILS=half).returncode == 1


def test_chosen_files_are_run_at_once(run):
    done = run("modules/local/step", TESTS="2")
    assert done.returncode == 0 and done.stdout.count("asked") == 1 and "--shard" not in done.stdout
