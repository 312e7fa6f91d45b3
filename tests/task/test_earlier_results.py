"""Published results are taken whole and as they were published, or the run is refused in one line."""

import hashlib
import json

import pytest

import take_results
from immune_aging.task.checkpoints import read_json
from immune_aging.task.command_line import BadInput
from immune_aging.task.earlier_results import Taken, take_files, taken_file

FILES = {"qc/cells.parquet": b"cells", "cohort/cell_types.tsv": b"id\n", "embedding/figures/umap_gene_A B.png": b"png"}


@pytest.fixture
def earlier(tmp_path):
    """A results folder with a few files and what its steps said of their versions."""
    folder = tmp_path / "results"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "pipeline_info").mkdir()
    said = {step: {"step": step, "python": "3", "packages": {}} for step in ("merge_qc", "qc_cells", "gsea")}
    (folder / "pipeline_info/versions.json").write_text(json.dumps(said))
    return folder


def digest(content):
    return hashlib.sha256(content).hexdigest()


def arguments(earlier, tmp_path, *further):
    taken = [f"{digest(content)} {name}" for name, content in FILES.items()]
    return [
        "--earlier", str(earlier), "--shown", "old results", "--take", *taken, "--steps", "merge_qc", "qc_thresholds",
        "--output", str(tmp_path / "published"), "--step-versions", str(tmp_path / "steps"), "--versions",
        str(tmp_path / "versions.json"), *further,
    ]  # fmt: skip


def test_files_and_versions_are_taken_as_they_are(earlier, tmp_path):
    take_results.main(arguments(earlier, tmp_path))
    for name, content in FILES.items():
        copy, source = tmp_path / "published" / name, earlier / name
        assert copy.read_bytes() == content and copy.stat().st_mtime_ns == source.stat().st_mtime_ns
        assert not copy.samefile(source), "a later change of the results changes nothing in the work folder"
    assert [path.name for path in (tmp_path / "steps").iterdir()] == ["merge_qc.json"], "qc_thresholds did not run"
    assert read_json(tmp_path / "steps/merge_qc.json")["step"] == "merge_qc"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["gone", "cut off", "a flipped bit", "a folder"])
def test_a_missing_or_damaged_file_is_named(earlier, tmp_path, name, damage):
    path = earlier / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "gone":
        content[0] ^= 1
        path.write_bytes(content if damage == "a flipped bit" else content[:-1])
    with pytest.raises(BadInput) as caught:
        take_results.main(arguments(earlier, tmp_path))
    said = str(caught.value)
    assert said.startswith(f"--start_from old results: {name} is not ") and "leave out --start_from" in said
    assert not (tmp_path / "published" / name).exists() and not list((tmp_path / "published").rglob("*.part"))


def test_a_path_may_hold_blanks():
    assert taken_file("abc a folder/b c.tsv") == Taken("a folder/b c.tsv", "abc")


def test_taking_a_file_again_replaces_it(earlier, tmp_path):
    file = Taken("cohort/cell_types.tsv", digest(b"id\n"))
    for _ in range(2):
        take_files(earlier, [file], tmp_path / "copy", shown="x")
    assert (tmp_path / "copy/cohort/cell_types.tsv").read_bytes() == b"id\n"
