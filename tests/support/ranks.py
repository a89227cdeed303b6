"""Starts real ranks under real launchers, with a hard limit on their time, and tells how each ended."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil

RECORDER = Path(__file__).with_name("_record_rank.py")
TAG = "REHEARSE_TEST_LAUNCH"
RANK_VARIABLES = {
    "mpirun": "OMPI_COMM_WORLD_RANK",
    "horovodrun": "HOROVOD_RANK",
    "torchrun": "RANK",
    "env": "RANK",
}
# A test may itself run under a launcher; the ranks that it starts must not see that one.
FOREIGN = ("OMPI_", "PMIX_", "PMI_", "HOROVOD_", "SLURM_", "PALS_", "TORCHELASTIC_", "GLOO_", "MASTER_")
FOREIGN_NAMES = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"}


@dataclass(frozen=True)
class Rank:
    """How one rank ended.

    Attributes:
        rank: Its number.
        exit_code: Negative for a signal; None where the launcher killed it outright.
        stdout: All that it printed.
        stderr: All that it printed.
        ended_s: When it ended, seconds since the epoch; None where the launcher killed it outright.
    """

    rank: int
    exit_code: int | None
    stdout: str
    stderr: str
    ended_s: float | None


@dataclass(frozen=True)
class Launch:
    """How a launch ended.

    Attributes:
        ranks: In rank order; a rank that never started has exit code None and printed nothing.
        exit_code: The launcher's; with launcher ``env`` the first one of a rank that is not 0.
        output: What the launcher itself printed, both streams.
        seconds: From start to end of everything.
        ended_s: When all had ended, seconds since the epoch.
        timed_out: Whether processes had to be killed.
    """

    ranks: tuple[Rank, ...]
    exit_code: int
    output: str
    seconds: float
    ended_s: float
    timed_out: bool

    def check(self):
        """The launch, after asserting that it and every rank ended well."""
        codes = [rank.exit_code for rank in self.ranks]
        assert not self.timed_out, f"killed after {self.seconds:.0f} s\n{self}"
        assert self.exit_code == 0, f"exit code {self.exit_code}\n{self}"
        assert codes == [0] * len(codes), f"exit codes {codes}\n{self}"
        return self

    def __str__(self):
        parts = [f"launcher, exit code {self.exit_code}, {self.seconds:.1f} s:\n{self.output}"]
        parts += [f"rank {r.rank}, exit code {r.exit_code}:\n{r.stdout}{r.stderr}" for r in self.ranks]
        return "\n".join(parts)


def run_ranks(num_ranks, *arguments, launcher="mpirun", timeout_s=60, env=None, cwd=None):
    """Start ``python ARGUMENTS…`` once per rank and wait for the end of all.

    Args:
        num_ranks: Number of ranks.
        arguments: What follows ``python``: a script or ``-m module``, and its arguments.
        launcher: ``mpirun``, ``horovodrun`` (Gloo), ``torchrun``, or ``env``: plain processes with
            RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, where nobody ends the others when one fails.
        timeout_s: After this all processes of the launch are killed.
        env: Further variables.
        cwd: Working folder of the ranks.

    Returns:
        The Launch.
    """
    tag = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
        recorder = [sys.executable, "-S", "-E", str(RECORDER), folder, RANK_VARIABLES[launcher]]
        command = [*recorder, sys.executable, *map(str, arguments)]
        variables = _environment(tag, env)
        start_s = time.monotonic()
        if launcher == "env":
            started = [(command, variables | by_hand) for by_hand in _by_hand(num_ranks)]
        else:
            started = [([*_launcher(launcher, num_ranks), *command], variables)]
        codes, timed_out = _run(started, Path(folder), tag, timeout_s, cwd)
        seconds, ended_s = time.monotonic() - start_s, time.time()
        return Launch(
            ranks=tuple(_result(Path(folder), rank) for rank in range(num_ranks)),
            exit_code=next((code for code in codes if code), 0),
            output=_read(Path(folder) / "launcher"),
            seconds=seconds,
            ended_s=ended_s,
            timed_out=timed_out,
        )


def _launcher(name, num_ranks):
    beside_python = Path(sys.executable).parent
    if name == "mpirun":
        mpirun = shutil.which("mpirun")
        assert mpirun, "mpirun is not installed; run make setup"
        # Waiting ranks would otherwise keep the cores from those that work.
        patience = ["--mca", "mpi_yield_when_idle", "1"]
        return [mpirun, "--oversubscribe", "--bind-to", "none", *patience, "-np", str(num_ranks)]
    if name == "horovodrun":
        return [str(beside_python / "horovodrun"), "--gloo", "-np", str(num_ranks)]
    # --standalone lets concurrent launches choose their own port.
    return [str(beside_python / "torchrun"), "--standalone", "--nproc-per-node", str(num_ranks), "--no-python"]


def _environment(tag, env):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN) and k not in FOREIGN_NAMES}
    return kept | {
        "OMP_NUM_THREADS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        TAG: tag,
        **(env or {}),
    }


def _by_hand(num_ranks):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for rank in range(num_ranks):
        yield {
            "RANK": str(rank),
            "WORLD_SIZE": str(num_ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }


def _run(started, folder, tag, timeout_s, cwd):
    """Exit codes of the started processes, and whether anything had to be killed."""
    end_s = time.monotonic() + timeout_s
    timed_out = False
    with (folder / "launcher").open("wb") as output:
        processes = [
            subprocess.Popen(
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            for command, env in started
        ]
        try:
            # Ranks may outlive their launcher.
            while any(process.poll() is None for process in processes) or _tagged(tag):
                if time.monotonic() > end_s:
                    timed_out = True
                    break
                time.sleep(0.05)
        finally:
            for process in _tagged(tag):
                process.kill()
        return [process.wait() for process in processes], timed_out


def _tagged(tag):
    """Living processes of a launch, found by their environment: launchers put ranks into other sessions."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TAG) == tag and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue  # gone, or another user's
    return found


def _result(folder, rank):
    base = folder / f"rank-{rank}"
    code, _, ended_s = _read(base.with_suffix(".exit")).partition(" ")
    return Rank(
        rank=rank,
        exit_code=int(code) if code else None,
        stdout=_read(base.with_suffix(".out")),
        stderr=_read(base.with_suffix(".err")),
        ended_s=float(ended_s) if ended_s else None,
    )


def _read(path):
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
