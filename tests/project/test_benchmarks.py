"""The benchmarks' own arithmetic: what a trace says, what a command cost, how tasks would be scheduled."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import cohorts
import de_cohorts
import measure
import schedule
import truth_de


def test_sizes_and_durations_are_read_as_the_engine_writes_them():
    assert measure.to_bytes("1.5 GB") == 1.5 * 2**30 and measure.to_bytes("20.4 MB") == 20.4 * 2**20
    assert measure.to_seconds("2m 12s") == 132 and measure.to_seconds("648ms") == pytest.approx(0.648)
    assert measure.to_seconds("1h 2m 3s") == 3723
    assert measure.to_bytes("-") != measure.to_bytes("-")


def test_a_command_costs_what_its_descendants_burn_and_the_largest_of_them_holds(tmp_path):
    """Measured from a small process, as the benchmarks are: that of the tests may hold more than the command."""
    burn = "x = bytearray(900 << 20); import time; t = time.process_time()\nwhile time.process_time() - t < 1: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}], check=True)"
    commands = [[sys.executable, "-c", child], [sys.executable, "-c", "pass"]]
    measured = (
        "import dataclasses, json, pathlib, sys, measure\n"
        "here = pathlib.Path.cwd()\n"
        "costs = [measure.run(one, cwd=here, log=here / 'log.txt') for one in json.loads(sys.argv[1])]\n"
        "print(json.dumps([dataclasses.asdict(cost) for cost in costs]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", measured, json.dumps(commands)], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(measure.__file__).parent)},
    )  # fmt: skip
    cost, small = json.loads(done.stdout)
    assert 1.0 <= cost["cpu_seconds"] <= cost["wall_seconds"] + 0.5, "one process, so no more CPU than wall time"
    assert 0.88 <= cost["peak_gb"] < 1.2
    assert small["peak_gb"] < 0.8, "the peak of an earlier command must not stick"


def test_even_doublets_lose_half_of_their_counts_and_other_cells_none(tmp_path):
    random = np.random.default_rng(0)
    is_doublet = random.random(300) < 0.2
    counts = random.poisson(2.0, (300, 50)) * (1 + is_doublet[:, None])
    names = [f"CELL{i}" for i in range(300)]
    cells = anndata.AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs=pd.DataFrame(index=names))
    cells.write_h5ad(tmp_path / "some.h5ad")
    (tmp_path / "some_truth").mkdir()
    truth = pd.DataFrame({"cell_id": names[::-1], "is_doublet": is_doublet[::-1]})  # in another order than the cells
    truth.to_parquet(tmp_path / "some_truth/cells.parquet")
    even = anndata.read_h5ad(cohorts.with_even_doublets(tmp_path / "some.h5ad"))
    found = even.X.toarray()
    np.testing.assert_array_equal(found[~is_doublet], counts[~is_doublet])
    assert (found[is_doublet] <= counts[is_doublet]).all() and even.X.data.all()
    assert found[is_doublet].sum() / counts[is_doublet].sum() == pytest.approx(0.5, abs=0.02)


def work_folder(tmp_path):
    """Two shards, a step that joins them, and the trace of it all."""
    work = tmp_path / "work"
    made = {"aa/111111": [], "bb/222222": ["aa/111111"], "cc/333333": ["aa/111111"],
            "dd/444444": ["bb/222222", "cc/333333"]}  # fmt: skip
    for name, earlier in made.items():
        folder = work / f"{name}0000"
        folder.mkdir(parents=True)
        (folder / "out.txt").write_text("")
        for one in earlier:
            (folder / one.replace("/", "_")).symlink_to(work / f"{one}0000" / "out.txt")
    lines = ["process\ttag\thash\tstatus\trealtime\t%cpu\tpeak_rss\tmemory\tcpus"]
    for process, name, seconds, cpus in (
        ("X:SPLIT", "aa/111111", 10, 1), ("X:QC", "bb/222222", 20, 1), ("X:QC", "cc/333333", 30, 1),
        ("X:MERGE", "dd/444444", 5, 8),
    ):  # fmt: skip
        lines.append(f"{process}\tall\t{name}\tCOMPLETED\t{seconds}s\t50.0%\t1 GB\t2 GB\t{cpus}")
    (tmp_path / "trace.tsv").write_text("\n".join(lines) + "\n")
    return work, tmp_path / "trace.tsv"


def test_dependencies_are_read_off_the_links_in_the_work_folder(tmp_path):
    work, trace = work_folder(tmp_path)
    needs = schedule.dependencies(measure.read_trace(trace), work)
    assert needs == {"aa/111111": set(), "bb/222222": {"aa/111111"}, "cc/333333": {"aa/111111"},
                     "dd/444444": {"bb/222222", "cc/333333"}}  # fmt: skip


def test_the_schedule_on_one_two_and_many_cores(tmp_path, capsys):
    work, trace = work_folder(tmp_path)
    tasks = measure.read_trace(trace)
    needs = schedule.dependencies(tasks, work)
    seconds = dict(zip(tasks["hash"], tasks["seconds"], strict=True))
    cores = dict(zip(tasks["hash"], tasks["cpus"], strict=True))
    way, following = schedule.way_to_end(seconds, needs)
    assert way["aa/111111"] == 45 and following["aa/111111"] == "cc/333333"
    assert [schedule.makespan(seconds, cores, needs, way, n) for n in (1, 2, 64)] == [65, 45, 45]
    schedule.main(["--trace", str(trace), "--work", str(work)])
    assert "The critical path, 0.8 minutes" in capsys.readouterr().out


def test_cost_by_process_is_summed_over_tasks(tmp_path):
    _, trace = work_folder(tmp_path)
    table = measure.by_process(measure.read_trace(trace))
    assert list(table.index) == ["SPLIT", "QC", "MERGE"]
    assert table.loc["QC"].to_dict() == {
        "tasks": 2, "cpu_seconds": 25.0, "longest_seconds": 30.0, "peak_gb": 1.0, "asked_gb": 2.0,
    }  # fmt: skip


def test_simulated_pseudobulk_has_the_truth_that_it_says():
    cohort = de_cohorts.Cohort(400, genes=200, outliers=0.0, doublets=0.0, gene_spread=0.0, lfc=(0.5, 0.6))
    one, again = (de_cohorts.draw_cohort(cohort, seed=1)[0] for _ in range(2))
    np.testing.assert_array_equal(one.counts, again.counts)
    assert one.counts.shape == (len(one.samples), 200) and (one.samples["n_cells"] >= 10).all()
    age = one.samples["age_years"]
    log_share = np.log2((one.counts + 0.5) / one.counts.sum(axis=1, keepdims=True))
    slope = ((age - age.mean()) / age.std()).to_numpy() @ log_share / len(age)
    deep = one.counts.mean(axis=0) > 50
    assert np.abs(slope - one.truth)[deep].max() < 0.12
    assert 4 < (one.truth != 0).sum() < 32
    assert not de_cohorts.draw_cohort(de_cohorts.Cohort(20, genes=50, true_share=0.0), seed=1)[1].truth.any()


def test_without_r_the_comparison_is_no_pass(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert truth_de.run_r(tmp_path, "deseq2") == ""


def test_the_false_discovery_proportion_is_that_of_the_calls():
    result = truth_de.Result(0, "type 0", None, np.array([True, True, False, False]), {})
    assert result.rate(np.array([True, False, True, False])) == 0.5
    assert result.rate(np.zeros(4, dtype=bool)) == 0


def test_more_cohorts_leave_the_first_as_they_are_and_share_no_seed():
    kinds = list(truth_de.COHORTS)
    once, thrice = (truth_de.replicated(kinds, times, seed=7) for times in (1, 3))
    assert thrice[: len(kinds)] == once == [(kind, 7 + number) for number, kind in enumerate(kinds)]
    assert [kind for kind, _ in thrice] == kinds * 3
    null = truth_de.replicated(truth_de.NULL_COHORTS, 3, seed=107)
    seeds = [seed for _, seed in thrice + null]
    assert len(set(seeds)) == len(seeds)
