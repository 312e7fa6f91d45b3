"""A real SLURM of one node, tasks in containers: the same bytes as on one machine, whatever happens to it."""

import hashlib
import json
import re
import shlex
import signal

import pytest

import containers
from edits import edited
from engine import ROOT, succeed, trace
from fault_runs import PARAMETERS, published, start, wait_until
from slurm_cluster import slurm_cluster
from small_cohorts import small_cohort, write_cohort

OPTIONS = {
    "slurm_queue": "main", "slurm_account": "my-group", "slurm_qos": "normal", "slurm_options": "--comment=ageing",
    "slurm_queue_size": 20, "slurm_submit_rate": "20/1sec", "max_cpus": 1, "max_memory": "1400 MB", "max_time": "30m",
}  # fmt: skip
# No instructions newer than AVX2 in numba and NumPy. OpenBLAS is asked for newer ones, to no avail (nextflow.config).
OLD_PROCESSOR = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "OPENBLAS_CORETYPE": "SkylakeX",
}  # fmt: skip
# The tasks that shall be over their time and preempted wait for that, when they are tried for the first time.
# So that the engine looks at its jobs every second, and gives a job up that left no exit code after 10.
# And no container can write to its root or reach a network.
SETTINGS = """\
podman.runOptions = '--user 0:0 --pull=never --read-only --network none'
executor { pollInterval = '1 sec'; queueStatInterval = '1 sec'; exitReadTimeout = '10 sec' }
process { withName: 'CHECK_COHORT|MERGE_PSEUDOBULK' { beforeScript = { task.attempt == 1 ? 'sleep 300 & wait' : '' } } }
"""


@pytest.fixture(scope="module")
def parameters(tmp_path_factory):
    """Those of a run with every step, each kind of penalty included, on a cohort of 560 cells."""
    path = write_cohort(small_cohort(donors=14, genes=120), tmp_path_factory.mktemp("cohort") / "cohort.h5ad")
    return PARAMETERS | {"dataset": "on-slurm", "input": str(path), "nested_alphas": True}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    containers.image()
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in containers.environment().items():  # for the engine's jobs, which get its environment
            patch.setenv(variable, value)
        with slurm_cluster(tmp_path_factory.mktemp("slurm")) as running:
            yield running


class Run:
    """A run on the cluster: its engine is interrupted after jobs were cancelled, and goes on as a job itself."""

    def __init__(self, folder, cluster, parameters):
        self.folder, scratch = folder, folder / "scratch"
        scratch.mkdir()
        (folder / "test.config").write_text(SETTINGS)
        (folder / "params.json").write_text(json.dumps(parameters | OPTIONS | {"slurm_scratch": str(scratch)}))
        arguments = ["-resume", "-profile", "slurm,podman", "-c", "test.config", "-params-file", "params.json"]
        # Where pytest runs in the background the shell has it ignore Ctrl-C, and all that it starts.
        prefix = ("env", "--default-signal=INT", f"SLURM_CONF={cluster.folder}/slurm.conf")
        head = start(folder, *arguments, prefix=prefix)
        try:
            late = cluster.begun("CHECK_COHORT")
            cluster.call("scontrol", "update", f"JobId={late}", "TimeLimit=1")
            self.timed_out = cluster.became(late, "FAILED")  # by the signal that SLURM sends before it would kill
            cluster.call("scancel", cluster.running("SPLIT_COHORT"))
            cluster.running("QC_CELLS")
            cluster.call("scontrol", "update", f"NodeName={cluster.host}", "State=DOWN", "Reason=test")
            wait_until(lambda: not cluster.jobs(running=True))
            cluster.call(
                "scontrol", "update", f"NodeName={cluster.host}", "State=RESUME", check=False
            )  # or it came back
            pushed_out = cluster.begun("MERGE_PSEUDOBULK")
            cluster.call("sbatch", "--wait", "--partition=urgent", "--exclusive", "--wrap=true")
            self.preempted = cluster.became(pushed_out, "PREEMPTED")
            cluster.running("DIFFERENTIAL_EXPRESSION")
            self.jobs_before = cluster.jobs()
            head.send_signal(signal.SIGINT)
            self.code = head.wait(timeout=120)
            wait_until(lambda: not cluster.jobs(), seconds=60)
            left = ("podman", "ps", "--quiet", "--filter", f"volume={folder}/work")
            wait_until(lambda: not cluster.call(*left), seconds=60)
        finally:
            head.kill()
        self.first_output, self.first_log = (folder / "output.txt").read_text(), (folder / ".nextflow.log").read_text()
        cluster.call("sbatch", "--wait", str(self.head_script(arguments)), seconds=900)
        self.log = (folder / ".nextflow.log").read_text()

    def head_script(self, arguments):
        """The script of docs/slurm.md, with this run's folders, arguments and partition."""
        text = re.search(r"```bash\n(.*?)```", (ROOT / "docs/slurm.md").read_text(), re.DOTALL)[1]
        launch = shlex.join([str(ROOT / "nextflow"), "run", str(ROOT / "main.nf"), *arguments])
        text = re.sub(r"exec \./nextflow .*", lambda _: f"exec {launch}", text)
        text = edited(text, {"--partition=long": "--partition=main", "--time=2-00:00:00": "--time=60"})
        text = edited(text, {"--mem=2G": "--mem=1G", "cd /shared/me/immune-aging": f"cd {self.folder}"})
        text = re.sub(r"export IMMUNE_AGING_HOME=.*\n", "", text)
        assert text.count("#SBATCH") == 7 and "/shared" not in text
        (self.folder / "head.sbatch").write_text(text)
        return self.folder / "head.sbatch"


@pytest.fixture(scope="module")
def run(tmp_path_factory, cluster, parameters):
    return Run(tmp_path_factory.mktemp("on_slurm"), cluster, parameters)


@pytest.fixture(scope="module")
def expected(tmp_path_factory, parameters):
    """What the run publishes on this machine without SLURM and containers, and with what a processor of 2013 can do."""
    folder = tmp_path_factory.mktemp("on_one_machine")
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in OLD_PROCESSOR.items():
            patch.setenv(variable, value)
        (folder / "params.json").write_text(json.dumps(parameters))
        succeed(folder, "-params-file", "params.json")
    return published(folder / "results")


def jobs_of(log, process):
    """Numbers of the jobs that ran a process."""
    return re.findall(rf"\[SLURM\] submitted process \S*{process} .*> jobId: (\d+)", log)


@pytest.mark.long
def test_a_run_gives_the_same_bytes_after_cancelled_jobs_a_lost_node_and_an_interrupted_engine(run, expected):
    """Every published file; of the report, all but the version of Python, which is the image's."""
    found = published(run.folder / "results")
    assert len(found) > 100
    assert [name for name in found | expected if found.get(name) != expected.get(name)] == []


@pytest.mark.long
def test_digests_of_text_come_back_from_scratch(run):
    """Of every table and JSON file that a task has written on its node's disk."""
    work = run.folder / "work"
    done = [path.parent for path in work.glob("*/*/.exitcode") if path.read_text().strip() == "0"]
    written = [
        (folder, path.relative_to(folder))
        for folder in done
        for path in folder.rglob("*")
        if path.suffix in (".tsv", ".json") and path.is_file() and not path.is_symlink() and ".sha256" not in path.parts
    ]
    assert len(written) > 100
    for folder, name in written:
        noted = (folder / ".sha256" / name).read_text().strip()
        assert noted == hashlib.sha256((folder / name).read_bytes()).hexdigest(), folder / name


@pytest.mark.long
def test_a_job_cancelled_lost_with_its_node_over_its_time_or_preempted_is_tried_again(run):
    for process, tasks in (("CHECK_COHORT", 1), ("SPLIT_COHORT", 1), ("QC_CELLS", 2), ("MERGE_PSEUDOBULK", 1)):
        assert len(set(jobs_of(run.first_log, process))) > tasks
        assert re.search(rf"Process `\S*{process} .*Execution is retried", run.first_output + run.first_log)
    assert "TimeLimit=00:01:00" in run.timed_out and "ExitCode=140:0" in run.timed_out
    for said in (run.timed_out, run.preempted):
        assert "Account=my-group" in said and "Partition=main" in said and "Comment=ageing" in said


@pytest.mark.long
def test_an_interrupted_engine_leaves_no_job_and_no_container_behind(run):
    """The fixture waits until none is there: within a minute, while tasks may ask for half an hour."""
    assert run.code != 0 and run.jobs_before


@pytest.mark.long
def test_each_cell_type_is_a_job_of_its_own(run, expected):
    types = {name.split("/")[1] for name in expected if name.startswith("cell_types/")}
    done = trace(run.folder)
    for process, tasks in (("DIFFERENTIAL_EXPRESSION", 1), ("GSEA", 1), ("PREDICT_AGE", 2)):
        jobs = jobs_of(run.first_log, process) + jobs_of(run.log, process)
        assert len(set(jobs)) >= (done["process"] == process).sum() == tasks * len(types)


@pytest.mark.long
def test_jobs_ask_for_what_the_parameters_say_and_never_more_than_there_is(run, cluster):
    """The module asks for 2 GB and more, and the node has 3,000 MB: unclamped SLURM refuses such a job."""
    refused = cluster.call("sbatch", "--partition=main", "--mem=4G", "--wrap=true", check=False)
    assert "Memory specification can not be satisfied" in refused
    scripts = [path.read_text() for path in (run.folder / "work").glob("*/*/.command.run")]
    assert len(scripts) > 40
    for text in scripts:
        for line in ("-p main", "--account=my-group --qos=normal --comment=ageing"):
            assert re.search(rf"^#SBATCH .*{re.escape(line)}", text, re.MULTILINE), text[:1500]
        memory = int(re.search(r"^#SBATCH --mem (\d+)M", text, re.MULTILINE)[1])
        assert memory <= 1400 and re.search(r"^#SBATCH -t 00:30:00", text, re.MULTILINE)
        assert f"{run.folder}/scratch" in text


@pytest.mark.long
def test_each_task_runs_in_the_image(run):
    for script in (run.folder / "work").glob("*/*/.command.run"):
        started = rf"podman run .* --read-only --network none .*{re.escape(containers.image())} /bin/bash"
        assert re.search(started, script.read_text())


def test_the_example_parameters_of_the_documentation_are_valid():
    text = (ROOT / "docs/slurm.md").read_text()
    given = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    entries = {name: entry for group in schema["$defs"].values() for name, entry in group["properties"].items()}
    for name, value in given.items():
        assert name in entries
        assert "pattern" not in entries[name] or re.fullmatch(entries[name]["pattern"], value), name
    mentioned = set(re.findall(r"`((?:slurm|max)_\w+)`", text))
    assert {name for name in entries if name.startswith("slurm_")} <= mentioned <= set(entries)


@pytest.mark.parametrize("value", ["a b", "x\n#SBATCH --uid=0", "$(touch pwned)", "a;b"])
def test_a_partition_is_one_word(value):
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    entries = schema["$defs"]["engine"]["properties"]
    for name in ("slurm_queue", "slurm_account", "slurm_qos"):
        assert not re.fullmatch(entries[name]["pattern"], value)
    assert not re.fullmatch(entries["slurm_options"]["pattern"], f"--x={value}") or value == "a b"
