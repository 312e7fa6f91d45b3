"""The guard against silently lost tests notices each way of losing one."""

import pytest

import check_none_lost

CASES = """<testsuites><testsuite>
<testcase classname="tests.test_sum" name="test_adds[1-2]"/>
<testcase classname="tests.test_sum.TestMore" name="test_b"/>
{extra}</testsuite></testsuites>"""
TESTS = """import step

def test_adds(): ...

class TestMore:
    def test_b(self): ...
    def helper(self): ...
"""


@pytest.fixture
def project(tmp_path):
    """A small project in which nothing is lost, and its junit file."""
    for folder in ("tests", "bin", "modules/local/step/tests"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tests/test_sum.py").write_text(TESTS)
    (tmp_path / "bin/step.py").write_text("")
    (tmp_path / "modules/local/step/main.nf").write_text("process STEP {}")
    (tmp_path / "modules/local/step/tests/main.nf.test").write_text('nextflow_process {\n    test("adds") {}\n}')
    (tmp_path / "junit.xml").write_text(CASES.format(extra=""))
    return tmp_path


def lost(project):
    return check_none_lost.lost(project, project / "junit.xml")


def test_a_full_run_has_lost_nothing(project):
    assert lost(project) == []


def test_a_test_that_was_not_run_is_lost(project):
    (project / "tests/test_sum.py").write_text(TESTS + "\ndef test_new(): ...\n")
    assert lost(project) == ["tests/test_sum.py: test_new was not run"]


def test_a_long_test_is_lost_only_where_all_were_to_run(project):
    values = '@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.long)])\ndef test_values(x): ...\n'
    (project / "tests/test_sum.py").write_text(TESTS + "\n@pytest.mark.long\ndef test_slow(): ...\n" + values)
    assert lost(project) == [f"tests/test_sum.py: {name} was not run" for name in ("test_slow", "test_values")]
    quick = check_none_lost.lost(project, project / "junit.xml", without_long=True)
    assert quick == ["tests/test_sum.py: test_values was not run"]
    (project / "tests/test_slow.py").write_text("pytestmark = pytest.mark.long\n\ndef test_whole_file(): ...\n")
    assert "tests/test_slow.py: test_whole_file was not run" in lost(project)
    assert check_none_lost.lost(project, project / "junit.xml", without_long=True) == quick


def test_a_skipped_test_is_lost(project):
    extra = '<testcase classname="tests.test_sum" name="test_slow"><skipped type="pytest.skip"/></testcase>'
    (project / "junit.xml").write_text(CASES.format(extra=extra))
    assert lost(project) == ["tests.test_sum::test_slow: skipped or expected to fail"]


def test_a_long_test_that_was_not_begun_in_time_is_listed_and_not_lost(project, monkeypatch, capsys):
    said = f'<skipped type="pytest.skip" message="{check_none_lost.NO_TIME}"/>'
    extra = f'<testcase classname="tests.test_sum" name="test_slow[1]">{said}</testcase>'
    (project / "junit.xml").write_text(CASES.format(extra=extra))
    (project / "tests/test_sum.py").write_text(TESTS + "\n@pytest.mark.long\ndef test_slow(x): ...\n")
    assert lost(project) == []
    monkeypatch.setattr(check_none_lost, "ROOT", project)
    assert check_none_lost.main([str(project / "junit.xml")]) == 0
    assert "not run, because" in capsys.readouterr().err
    (project / "tests/test_sum.py").write_text(TESTS + "\ndef test_slow(x): ...\n")
    assert lost(project) == ["tests/test_sum.py: test_slow was not run"], "only long ones may wait"


def test_a_shadowed_test_is_lost(project):
    (project / "tests/test_sum.py").write_text(TESTS + "\ndef test_adds(): ...\n")
    assert lost(project) == ["tests/test_sum.py: test_adds stands there twice"]


def test_a_file_that_was_not_collected_is_lost(project):
    (project / "tests/test_other.py").write_text("def test_it(): ...\n")
    assert lost(project) == ["tests/test_other.py: test_it was not run"]


def test_a_module_without_nf_test_is_lost(project):
    (project / "modules/local/step/tests/main.nf.test").write_text("nextflow_process { }")
    assert lost(project) == ["modules/local/step: no test in tests/main.nf.test"]


def test_a_script_that_no_test_names_is_lost(project):
    (project / "bin/forgotten.py").write_text("")
    assert lost(project) == ["bin/forgotten.py: no test names it"]


def test_nothing_of_this_project_is_lost_but_for_what_was_run(tmp_path):
    """What a look at the files shows; `make test` asks for what was run when all has been."""
    (tmp_path / "junit.xml").write_text("<testsuites/>")
    assert [
        line
        for line in check_none_lost.lost(check_none_lost.ROOT, tmp_path / "junit.xml")
        if not line.endswith("was not run")
    ] == []
