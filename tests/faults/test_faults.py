"""Whatever goes wrong in a run, the same results come out in the end, whole, and until then none is a piece of one."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import check_cohort
from edits import edited
from engine import ROOT, trace, tree
from fault_runs import (
    grow,
    memory_group,
    published,
    scripts_running,
    small_disk,
    wait_until,
)
from immune_aging.cohort.cohort_file import unchanged
from immune_aging.cohort.shard_file import donor_counts, read_shard, write_shard
from immune_aging.task.checkpoints import (
    read_json,
    read_parquet,
    read_tsv,
    sha256_of,
    write_json,
    write_parquet,
    write_tsv,
)
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options
from small_cohorts import small_cohort, write_cohort

# Each costs a start of the engine; `KILLS=20 make test PYTEST_OPTIONS=...` tries more.
KILLS = int(os.environ.get("KILLS", "8"))
PER_CELL_TYPE = ("DIFFERENTIAL_EXPRESSION", "GSEA", "OVERREPRESENTATION", "PREDICT_AGE", "PLOT_CELL_TYPE")


# --- the engine ----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_an_engine_killed_at_random_moments_resumes_to_the_same_bytes(reference, tmp_path):
    """A moment is some time after a number of finished tasks, so that a slow machine comes as far as a fast one.

    Kills hit the start, tasks, publishing and the end alike; a run that comes through begins anew elsewhere.
    """
    moments, kills, folder, whole = random.Random(20), 0, tmp_path / "0", 0
    folder.mkdir()
    while kills < KILLS:
        run = reference.start(folder, "-resume")
        tasks, log = moments.randint(0, 6), folder / ".nextflow.log"
        wait_until(lambda: run.poll() is not None or log.read_text().count("Task completed >") >= tasks)  # noqa: B023
        try:
            assert run.wait(timeout=moments.uniform(0, 2)) == 0, (folder / "output.txt").read_text()
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
            kills += 1
        else:
            assert published(folder / "results") == reference.results
            folder = tmp_path / str(kills)
            folder.mkdir()
        so_far = published(folder / "results")
        assert so_far.items() <= reference.results.items(), f"kill {kills}: a published file is not whole"
        whole = max(whole, len(so_far))
    assert whole > 10, "the kills came before anything was published"
    done = reference.run(folder, "-resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert published(folder / "results") == reference.results
    wait_until(lambda: not list(scripts_running(folder)))  # tasks that outlived their engine


# --- tasks ---------------------------------------------------------------------------------------------------------

SIGNALS = {
    "qc_cells": signal.SIGTERM, "pca": signal.SIGKILL, "harmony": signal.SIGSEGV, "gsea": signal.SIGHUP,
    "predict_age": signal.SIGBUS, "report": signal.SIGABRT,
}  # fmt: skip


def strike(folder: Path, starved: Path, struck: dict[str, int], over: threading.Event) -> None:
    """Send each step of `SIGNALS` its signal once, and put UMAP where there is no memory."""
    while not over.is_set():
        for process, script in scripts_running(folder):
            if script in struck:
                continue
            if script in SIGNALS:
                os.kill(process, SIGNALS[script])
                struck[script] = process
            elif script == "umap_layout":
                starved.write_text(str(process))
                struck[script] = process
        time.sleep(0.01)


@pytest.mark.long
def test_killed_tasks_are_tried_again_on_a_machine_of_one_core_and_two_gib(reference, tmp_path):
    """Six tasks are killed by six signals and one by the kernel for memory, all in 2 GiB on one core."""
    struck, over = {}, threading.Event()
    with memory_group("starved", 24 << 20) as starved, memory_group("machine", 2 << 30) as machine:
        hunter = threading.Thread(target=strike, args=(tmp_path, starved, struck, over))
        hunter.start()
        # Who starts the tests with nohup has them, and all that they start, ignore SIGHUP.
        small = ("env", "--default-signal", "bash", "-c", 'echo $$ > "$0"; exec taskset -c 0 "$@"', str(machine))
        done = reference.run(tmp_path, prefix=small)
        over.set()
        hunter.join()
        assert done.returncode == 0, done.stdout + done.stderr
    assert set(struck) == {*SIGNALS, "umap_layout"}
    table = trace(tmp_path)
    failed = table[table["status"] == "FAILED"].set_index("process")["exit"].astype(int).to_dict()
    expected = {script.upper(): 128 + number for script, number in SIGNALS.items()} | {"UMAP": 128 + signal.SIGKILL}
    assert failed == expected
    again = table[table["attempt"] == 2].set_index("process")
    assert set(again.index) == set(expected) and (again["status"] == "COMPLETED").all()
    assert (table["cpus"] == 1).all()
    assert published(tmp_path / "results") == reference.results


@pytest.mark.long
def test_a_crash_in_one_cell_type_is_reported_and_takes_down_no_other(reference):
    """The second step of one cell type crashes; the others, and the first step of this one, are what they were."""
    script = reference.project / "bin/gsea.py"
    before, stat = script.read_text(), script.stat()
    ids = sorted({name.split("/")[1] for name in reference.results if name.startswith("cell_types/")})
    crash = f'    if "/{ids[0]}/" in str(args.output):\n        raise RuntimeError("this cell type alone")\n'
    script.write_text(edited(before, {"    fits = read_gene_fits(": f"{crash}    fits = read_gene_fits("}))
    try:
        done = reference.run(reference.folder, "-resume", "--outdir", "crashed")
        strict = reference.run(reference.folder, "-resume", "--outdir", "strict", strict=True)
    finally:
        script.write_text(before)
        os.utime(script, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert done.returncode == 0, done.stdout + done.stderr
    found = published(reference.folder / "crashed")
    missing = set(reference.results) - set(found)
    assert {name.split("/")[1] for name in missing if name.startswith("cell_types/")} == {ids[0]}
    assert f"cell_types/{ids[0]}/gsea.tsv" in missing and f"cell_types/{ids[0]}/de.tsv" in found
    of_others = {
        name for name in reference.results if name.startswith(tuple(f"cell_types/{name}/" for name in ids[1:]))
    }
    assert {name: found.get(name) for name in of_others} == {name: reference.results[name] for name in of_others}
    page = (reference.folder / "crashed/report.html").read_text()
    assert page.count("Gene set enrichment: no result, because this step or one before it failed") == 1
    table = trace(reference.folder, "crashed")
    assert len(table[(table["process"] == "GSEA") & (table["status"] == "FAILED")]) == 1
    assert strict.returncode == 1 and "this cell type alone" in strict.stdout + strict.stderr
    assert not (reference.folder / "strict/report.html").exists()
    healed = reference.run(reference.folder, "-resume", "--outdir", "crashed")
    assert healed.returncode == 0 and published(reference.folder / "crashed") == reference.results


# --- disks and clocks ----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_full_disks_and_a_moved_clock_leave_nothing_broken(reference, tmp_path):
    """Work and results on disks that are too small, one after the other; the clock jumps back, then ahead."""
    with small_disk(tmp_path / "work", size="700k") as work, small_disk(tmp_path / "disk", size="100k") as disk:
        arguments = ["-resume", "-w", str(work), "--outdir", str(disk / "results")]
        first = reference.run(tmp_path, *arguments)
        assert first.returncode != 0 and "No space left on device" in first.stdout + first.stderr
        assert published(disk / "results").items() <= reference.results.items()
        grow(work, size="1g")
        second = reference.run(tmp_path, *arguments, prefix=("faketime", "-f", "-3d"))
        output = second.stdout + second.stderr
        assert second.returncode != 0 and "a result cannot be written" in output and "-resume" in output
        assert published(disk / "results").items() <= reference.results.items()
        grow(disk, size="1g")
        third = reference.run(tmp_path, *arguments, prefix=("faketime", "-f", "+2d"))
        assert third.returncode == 0, third.stdout + third.stderr
        assert published(disk / "results") == reference.results
        assert not list(disk.rglob("*.part"))


WRITERS = {
    "parquet": "checkpoints.write_parquet(pandas.DataFrame(numbers.toarray()).rename(columns=str), path)",
    "table": "checkpoints.write_tsv(pandas.DataFrame(numbers.toarray()), path)",
    "json": "checkpoints.write_json(numbers.data, path)",
    "h5ad": "checkpoints.write_h5ad(anndata.AnnData(X=numbers), path)",
    "shard": "shard_file.write_shard(path, [counts], cells, genes)",
}
SCRIPT = """
import sys
sys.path.insert(0, {bin!r})
import anndata, numpy, pandas
from immune_aging.cohort import shard_file
from immune_aging.task import checkpoints
from scipy import sparse
path = {path!r}
numbers = sparse.random(500, 400, density=0.5, format="csr", random_state=0)
counts = sparse.csr_matrix(((numbers.data * 60000).astype("uint16"), numbers.indices, numbers.indptr), numbers.shape)
cells = pandas.DataFrame({{"cell_id": [str(i) for i in range(500)], "donor_id": "d", "cell_type": "t"}})
genes = pandas.DataFrame({{"gene_id": [str(i) for i in range(400)], "symbol": ""}})
{call}
"""


@pytest.mark.parametrize("kind", WRITERS)
def test_a_checkpoint_that_does_not_fit_on_the_disk_is_not_there(kind, tmp_path):
    """Nothing stands under its name, and the step says why and fails (HDF5, which crashes then, by a signal)."""
    with small_disk(tmp_path / "disk", size="64k") as disk:
        script = SCRIPT.format(bin=str(ROOT / "bin"), path=str(disk / "checkpoint"), call=WRITERS[kind])
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode in ((1,) if kind in ("parquet", "table", "json") else (1, -signal.SIGSEGV)), done.stderr
        assert re.search(r"(?i)no space left|errno = 28", done.stderr), done.stderr[-2000:]
        assert not (disk / "checkpoint").exists()


@pytest.mark.long
def test_results_in_a_folder_that_cannot_be_written_stop_the_run_at_once(reference, tmp_path):
    with small_disk(tmp_path / "disk", size="1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = reference.run(tmp_path, "--outdir", str(disk / "results"))
    output = done.stdout + done.stderr
    assert done.returncode != 0 and str(disk / "results") in output and "Traceback" not in output
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").glob("*/*/.command.sh"))


# --- the input -----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_an_input_replaced_during_the_run_is_refused_and_the_first_gives_the_same_results(reference, tmp_path):
    cohort, other = tmp_path / "cohort.h5ad", tmp_path / "other.h5ad"
    shutil.copy(reference.cohort, cohort)
    write_cohort(small_cohort(seed=1), other)
    run = reference.start(tmp_path, "-resume", input=str(cohort), stop_after="qc")
    wait_until(lambda: list((tmp_path / "work").glob("*/*/fetched.json")))
    other.replace(cohort)
    assert run.wait(timeout=300) != 0
    message = f"ERROR: {cohort.resolve()}: was changed while the run read it; run again with -resume"
    assert message in (tmp_path / "output.txt").read_text()
    shutil.copy(reference.cohort, cohort)
    done = reference.run(tmp_path, "-resume", input=str(cohort), stop_after="qc")
    assert done.returncode == 0, done.stdout + done.stderr
    found = published(tmp_path / "results")
    found.pop("report.html")
    assert len(found) > 10 and found.items() <= reference.results.items()


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_truncated_input_is_refused_in_one_line(share, tmp_path):
    path = write_cohort(small_cohort(), tmp_path / "cohort.h5ad")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    outputs = [
        word for name in ("cells", "donors", "genes", "check") for word in (f"--output-{name}", str(tmp_path / name))
    ]
    with pytest.raises(BadInput, match="is cut off"):
        check_cohort.main([*default_options("check_cohort"), "--cohort", str(path), *outputs])


def test_what_a_changed_file_does_to_its_reader_is_not_taken_for_a_fault_of_ours(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    digest = sha256_of(path)
    with unchanged(path, digest):
        pass
    with pytest.raises(ValueError, match="ours"), unchanged(path, digest):
        raise ValueError("ours")
    for error in (None, OSError("unreadable")):
        path.write_text("before")
        with pytest.raises(BadInput, match="was changed while the run read it"), unchanged(path, digest):
            path.write_text("after")
            if error:
                raise error


# --- work ----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_damaged_files_in_work_are_named_with_their_remedy_which_heals_them(reference):
    """A checkpoint cut off, and one digit of each table that is another digit, size and date as they were.

    (Of each table, because the tests before this one left tables of other runs there.)
    """
    work = reference.folder / "work"
    (cut,) = work.glob("*/*/published/embedding/pca.parquet")
    cut.write_bytes(cut.read_bytes()[:-100])
    tables = [path for path in work.glob("*/*/published/cell_types/*/de.tsv") if not path.is_symlink()]
    for table in tables:
        data = table.read_bytes()
        flip(table, next(place for place in range(len(data) // 2, len(data)) if data[place : place + 1].isdigit()))
    cut_task, *table_tasks = (
        str(work.resolve().joinpath(*path.relative_to(work).parts[:2])) for path in (cut, *tables)
    )
    remedies: set[str] = set()
    while (done := reference.run(reference.folder, "-resume", "--outdir", "damaged")).returncode:
        output = done.stdout + done.stderr
        found = set(re.findall(r"delete the folder (\S+) and run again with -resume", output)) - remedies
        assert found and found <= {cut_task, *table_tasks} and "Traceback" not in output, output[-3000:]
        for remedy in found:
            shutil.rmtree(remedy)
        remedies |= found
    assert cut_task in remedies and remedies & set(table_tasks)
    assert published(reference.folder / "damaged") == reference.results


def flip(path: Path, place: int) -> None:
    """Change one bit, and neither size nor date."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_no_flipped_bit_in_numbers_becomes_another_number(tmp_path):
    """Each of 40 places in the stored values of a checkpoint: an error, never a value that was not written."""
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(2.0, size=(300, 50)).astype(np.uint16))
    cells = pd.DataFrame({"cell_id": [f"c{i}" for i in range(300)], "donor_id": "d", "cell_type": "t"})
    genes = pd.DataFrame({"gene_id": [f"g{i}" for i in range(50)], "symbol": ""})
    shard, table = tmp_path / "shard.h5ad", tmp_path / "table.parquet"
    write_shard(shard, [counts], cells, genes)
    frame = pd.DataFrame({"x": rng.random(5000)})
    write_parquet(frame, table)
    with h5py.File(shard) as file:
        chunk = file["X/data"].id.get_chunk_info(0)
    for place in np.linspace(chunk.byte_offset, chunk.byte_offset + chunk.size - 1, 20).astype(int):
        flip(shard, place)
        with pytest.raises(BadInput, match="its counts are damaged"):
            list(donor_counts(read_shard(shard)))
        flip(shard, place)
    ((_, _, read),) = donor_counts(read_shard(shard))
    assert (read != counts).nnz == 0
    for place in np.linspace(100, table.stat().st_size // 2, 20).astype(int):
        flip(table, place)
        with pytest.raises(BadInput, match="cannot be read as a Parquet table"):
            read_parquet(table)
        flip(table, place)
    pd.testing.assert_frame_equal(read_parquet(table), frame)


def test_no_flipped_bit_in_text_becomes_another_text(tmp_path, monkeypatch):
    """A task's tables and numbers, read by a task that got them as links; what the user gives carries no digest."""
    first, second = tmp_path / "first", tmp_path / "second"
    frame, numbers = pd.DataFrame({"gene": ["A", "B"], "p": [0.25, 0.5]}), {"n_cells": 123}
    for folder in (first / "published", second):
        folder.mkdir(parents=True)
    monkeypatch.chdir(first)
    monkeypatch.setenv("NXF_TASK_WORKDIR", str(first))
    write_tsv(frame, "published/de.tsv")
    write_json(numbers, "numbers.json")
    monkeypatch.chdir(second)
    monkeypatch.setenv("NXF_TASK_WORKDIR", str(second))
    Path("results").symlink_to(first / "published")
    Path("renamed.json").symlink_to(first / "numbers.json")
    reads = ((read_tsv, "results/de.tsv"), (read_json, "renamed.json"))
    for read, name in reads:
        for place in range(Path(name).stat().st_size):
            flip(Path(name), place)
            with pytest.raises(BadInput, match=rf"^{name}: is damaged.*delete the folder {first}"):
                read(name)
            flip(Path(name), place)
    pd.testing.assert_frame_equal(read_tsv("results/de.tsv"), frame)
    assert read_json("renamed.json") == numbers
    shutil.rmtree(first / ".sha256")
    flip(first / "published/de.tsv", first.joinpath("published/de.tsv").stat().st_size - 2)
    assert read_tsv("results/de.tsv")["p"].tolist() == [0.25, 0.4]


# --- two runs at once ----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_two_runs_share_a_folder_but_not_an_output_folder(reference, tmp_path):
    """Two runs side by side give what one gives; a third into the results of the first is refused and changes none.

    (That a lock dies with its run, every run shows that is resumed, after an end or a kill.)
    """
    first = reference.start(tmp_path, "--outdir", "one", stop_after="qc")
    wait_until(lambda: (tmp_path / "one/pipeline_info/trace.tsv").exists())
    first.send_signal(signal.SIGSTOP)  # so that it cannot end before the others have tried
    refused = reference.run(tmp_path, "--outdir", "one", stop_after="qc")
    mistaken = reference.run(tmp_path, "--outdir", "one", stop_after="dinner")
    first.send_signal(signal.SIGCONT)
    second = reference.run(tmp_path, "--outdir", "two", stop_after="qc")
    assert first.wait(timeout=300) == 0 and second.returncode == 0
    output = refused.stdout + refused.stderr
    assert refused.returncode == 2 and "--outdir one: another run is writing there" in output
    assert mistaken.returncode == 2 and "--stop_after dinner" in mistaken.stdout + mistaken.stderr
    assert set(trace(tmp_path, "one")["status"]) == {"COMPLETED"} and len(trace(tmp_path, "one")) > 5
    assert not list((tmp_path / "one/pipeline_info").glob(".trace-*"))
    for name in ("one", "two"):
        found = published(tmp_path / name)
        found.pop("report.html")
        assert len(found) > 10 and found.items() <= reference.results.items()
    # What a run left stays as it is when another is refused.
    left = tree(tmp_path / "two")
    assert reference.run(tmp_path, "--outdir", "two", stop_after="dinner").returncode == 2
    assert tree(tmp_path / "two") == left
