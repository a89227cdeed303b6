"""Do the launchers start ranks that can talk? Two real processes, one allreduce, for each."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rehearse.cli._doctor_checks import REPAIR, Finding, last_line

_TIMEOUT_S = 60
_GRACE_S = 5
_INSTALL_MPI = "sudo apt-get install -y openmpi-bin libopenmpi-dev (on a cluster: load the site's MPI module)"


@dataclass(frozen=True, slots=True)
class Launch:
    """One way to start two ranks of one communicator.

    Attributes:
        launcher: Program that starts the ranks.
        options: What it needs to start two on this machine.
        communicator: Through which they talk.
        remedy: The command that gets the launcher.
    """

    launcher: str
    options: tuple[str, ...]
    communicator: str
    remedy: str


def all_launches() -> list[Finding]:
    """One finding for each launcher."""
    return [try_launch(launch) for launch in launches(_is_open_mpi())]


def launches(open_mpi: bool) -> tuple[Launch, ...]:
    """The launchers of this project. Only Open MPI binds ranks to cores and counts them, so only it is told not to."""
    share_cores = ("--oversubscribe", "--bind-to", "none") if open_mpi else ()
    return (
        Launch("mpirun", (*share_cores, "-np", "2"), "horovod", _INSTALL_MPI),
        Launch("horovodrun", ("--gloo", "-np", "2"), "horovod", REPAIR),
        Launch("torchrun", ("--standalone", "--nproc-per-node", "2", "--no-python"), "torch", REPAIR),
    )


def try_launch(launch: Launch, timeout_s: float = _TIMEOUT_S) -> Finding:
    """Start two ranks and see that both take part in a sum."""
    part = f"{launch.launcher}, 2 ranks"
    program = find_launcher(launch.launcher)
    if program is None:
        return Finding(part, "missing", f"{launch.launcher} is not on PATH", launch.remedy)
    rank = (sys.executable, "-m", "rehearse.cli._doctor_probe", "--rank", launch.communicator)
    start_s = time.monotonic()
    try:
        returncode, stdout, stderr = run_with_limit([program, *launch.options, *rank], timeout_s)
    except subprocess.TimeoutExpired:
        return Finding(part, "missing", f"no answer within {timeout_s:.0f} s", launch.remedy)
    if returncode or "sum over ranks: 3.0" not in stdout:
        reason = last_line(stderr or stdout)
        return Finding(part, "missing", f"exit code {returncode}: {reason}", launch.remedy)
    return Finding(part, "ok", f"{launch.communicator} allreduce in {time.monotonic() - start_s:.1f} s with start")


def run_with_limit(command: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
    """Exit code, output and errors of a launcher; a launcher that hangs is ended together with its ranks.

    Raises:
        subprocess.TimeoutExpired: It did not end in time.
    """
    environment = rank_environment(os.environ, root=os.geteuid() == 0)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except BaseException:
        process.terminate()  # launchers end their ranks when asked, not when killed
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, stdout, stderr


def find_launcher(name: str) -> str | None:
    """A launcher beside this Python, which fits it, before one on PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def rank_environment(environ: Mapping[str, str], *, root: bool) -> dict[str, str]:
    """One thread for each rank, and leave for Open MPI to run as root, which it refuses unasked."""
    as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} if root else {}
    return {**environ, "OMP_NUM_THREADS": "1", **as_root}


def _is_open_mpi() -> bool:
    program = shutil.which("mpirun")
    if program is None:
        return False
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    return "Open MPI" in answer.stdout
