"""Where a result comes from: configuration, code, versions, hosts, devices, scheduler."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from rehearse import __version__
from rehearse.core.cell import Cell
from rehearse.core.protocols import Buffer, Communicator

_LIBRARIES = ("torch", "torchvision", "timm", "numpy", "continuum", "horovod", "mpi4py", "neomem", "scikit-learn")
_SCHEDULER_VARIABLES = ("SLURM_JOB_ID", "SLURM_STEP_ID", "PBS_JOBID", "PALS_APID")


def collect_provenance(
    cell: Cell, communicator: Communicator, device: torch.device, buffer: Buffer | None
) -> dict[str, Any]:
    """Everything that tells how this run came about; collective, the same on every rank."""
    ranks = communicator.gather_objects(_describe_rank(communicator, device))
    return {
        "format": 1,
        "started_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "config": cell.model_dump(mode="json"),
        "seed": cell.seed,
        "code": {"rehearse": __version__, **_git()},
        "versions": {"python": platform.python_version(), **_versions()},
        "launcher": communicator.world.launcher,
        "communicator": type(communicator).__name__,
        "buffer": None if buffer is None else buffer.describe(),
        "scheduler": {name: os.environ[name] for name in _SCHEDULER_VARIABLES if name in os.environ},
        "ranks": ranks,
    }


def _describe_rank(communicator: Communicator, device: torch.device) -> dict[str, Any]:
    return {
        "rank": communicator.world.rank,
        "host": socket.gethostname(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "device_type": device.type,
        "num_threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git() -> dict[str, Any]:
    """Commit of the source tree, if it is one."""
    here = Path(__file__).parent

    def ask(*arguments: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(ask("status", "--porcelain", "--untracked-files=no"))}
