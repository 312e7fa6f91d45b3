"""A real SLURM of one node for tests: munged, slurmctld and slurmd from Debian, each in folders of its own."""

import os
import re
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from fault_runs import wait_until

# The node says it has four cores whatever the machine has, for a head job and tasks at one time; 3,000 MB is less than
# what a task asks for by default.
CONFIGURATION = """
ClusterName=immune-aging
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MailProg=/bin/true
KillWait=2
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=3000 State=UNKNOWN
PartitionName=elsewhere Nodes=ALL Default=YES MaxTime=1 State=DOWN
PartitionName=main Nodes=ALL MaxTime=60 PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL MaxTime=60 PriorityTier=2 State=UP
"""

# Any other state is on the way to one of these: RUNNING, COMPLETING, SIGNALING, STAGE_OUT, ... (`man squeue`).
ENDED = "BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|REVOKED|TIMEOUT"


class Cluster:
    """A running cluster; `call` runs its commands."""

    def __init__(self, folder: Path):
        self.folder, self.host = folder, socket.gethostname().split(".")[0]
        self.environ = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def call(self, *command: str, check: bool = True, seconds: int = 60) -> str:
        """What a command of SLURM prints; fails the test where the command fails."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False, timeout=seconds
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def jobs(self, *, running: bool = False) -> dict[str, str]:
        """Names of the jobs in the queue by their number."""
        states = ["--states=RUNNING"] if running else []
        rows = self.call("squeue", "--noheader", "--format=%i %j", *states).splitlines()
        return dict(row.split(maxsplit=1) for row in rows)

    def became(self, job: str, state: str) -> str:
        """Wait for a job to have ended, which must be in this way; returns what SLURM says of it."""

        def ended() -> str:
            said = self.call("scontrol", "show", "job", job)
            return said if re.search(rf"JobState=({ENDED})\b", said) else ""

        said = wait_until(ended)
        assert f"JobState={state}" in said, said
        return said

    def running(self, name: str) -> str:
        """Wait for a job whose name holds `name` to run; returns its number."""
        return wait_until(lambda: next((i for i, job in self.jobs(running=True).items() if name in job), ""))

    def begun(self, name: str) -> str:
        """Wait for the engine's script of such a job to handle signals; returns the job's number.

        SLURM says that a job runs up to two seconds before its script does, and a signal sent in between is lost.
        """
        job = self.running(name)
        folder = re.search(r"WorkDir=(.*)", self.call("scontrol", "show", "job", job))[1]
        wait_until((Path(folder) / ".command.begin").exists)
        return job


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def daemon(*command: str, log: Path, environ: dict) -> Iterator[subprocess.Popen]:
    """A server in the foreground for as long as the body runs."""
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Cluster]:
    """Start the three servers, wait for the node, stop them all in the end."""
    cluster = Cluster(folder)
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    ports = {"controller_port": free_port(), "node_port": free_port()}
    text = CONFIGURATION.format(folder=folder, host=cluster.host, user=user, **ports)
    (folder / "slurm.conf").write_text(text)
    munge = [
        "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
        f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munged.seed", f"--log-file={folder}/munged.log",
    ]  # fmt: skip
    with ExitStack() as servers:
        for command in (munge, ["slurmctld", "-D", "-i"], ["slurmd", "-D", "-N", cluster.host]):
            servers.enter_context(daemon(*command, log=folder / f"{command[0]}.out", environ=cluster.environ))
            if command is munge:
                wait_until((folder / "munge.socket").exists)
        wait_until(
            lambda: "idle" in cluster.call("sinfo", "--noheader", "--partition=main", "--format=%t", check=False)
        )
        try:
            yield cluster
        finally:
            cluster.call("scancel", "--partition=main,urgent", check=False)
            wait_until(lambda: not cluster.jobs())
