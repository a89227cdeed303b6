"""What ``rehearse doctor`` looks at besides launchers; each check gives one finding."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any, Literal

from rehearse.core.rehearsal import BUILD_ENGINE

REPAIR = "rm -rf .venv/.setup && make setup"
_PROBE_TIMEOUT_S = 120
_GIB = 2**30

# Package on the index → what it is for.
_WORKFLOW = {
    "snakemake": "runs campaigns",
    "snakemake-executor-plugin-slurm": "campaigns on Slurm",
    "snakemake-executor-plugin-cluster-generic": "campaigns on PBS and others",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the doctor's table.

    Attributes:
        part: What was looked at.
        status: ``optional`` is absent or modest and needed by nothing by default.
        found: Version or state.
        remedy: The command that gets it; empty when ``ok``.
    """

    part: str
    status: Literal["ok", "missing", "optional"]
    found: str
    remedy: str = ""


def all_checks(folder: Path) -> list[Finding]:
    """Every check that starts no ranks.

    Args:
        folder: Where results will go; its disk is measured.
    """
    facts = probe("torch", "torchvision", "timm", "continuum") | probe("horovod") | probe("neomem")
    return [
        python_version(sys.version_info[:3]),
        *(library(name, facts) for name in ("torch", "torchvision", "timm", "continuum")),
        *gpus(facts, driver=Path("/proc/driver/nvidia/version").exists()),
        *horovod(facts),
        *(distribution(name, purpose) for name, purpose in _WORKFLOW.items()),
        pins(pinned(requirements_folder()), installed_version),
        engine(facts, requirements_folder().with_name("neomem")),
        disk(shutil.disk_usage(folder).free),
        shared_memory(Path("/dev/shm")),
    ]


def probe(*libraries: str) -> dict[str, dict[str, Any]]:
    """Import libraries in a process of their own, which may crash, and return what each says of itself."""
    done = subprocess.run(
        [sys.executable, "-m", "rehearse.cli._doctor_probe", *libraries],
        capture_output=True,
        text=True,
        timeout=_PROBE_TIMEOUT_S,
        check=False,
    )
    try:
        facts: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        error = f"importing it ended the process (exit code {done.returncode}): {last_line(done.stderr)}"
        return {name: {"error": error} for name in libraries}
    return facts


def last_line(text: str) -> str:
    """The last line that says something, which is where programs put the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def python_version(version: tuple[int, ...]) -> Finding:
    """The lock holds for one minor version of Python."""
    text = ".".join(map(str, version))
    if tuple(version[:2]) == (3, 11):
        return Finding("Python", "ok", text)
    return Finding("Python", "missing", f"{text}, needed is 3.11", "PYTHON=/path/to/python3.11 make setup")


def library(name: str, facts: Mapping[str, Mapping[str, Any]]) -> Finding:
    """A library that must import."""
    if "error" in facts[name]:
        return Finding(name, "missing", facts[name]["error"], REPAIR)
    return Finding(name, "ok", facts[name]["found"])


def gpus(facts: Mapping[str, Mapping[str, Any]], *, driver: bool) -> list[Finding]:
    """Whether torch computes on the GPUs of this machine; no row where there is no driver."""
    if not driver:
        return []
    num_devices = facts["torch"].get("num_devices", 0)
    if num_devices:
        return [Finding("GPUs", "ok", f"{num_devices} for torch")]
    remedy = f"see which torch pip offers (pip config list, PIP_FIND_LINKS), then: {REPAIR}"
    return [Finding("GPUs", "optional", "a driver is here, but torch finds no GPU", remedy)]


def horovod(facts: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Horovod with MPI and Gloo, and with NCCL where torch has CUDA."""
    row = library("horovod", facts)
    if row.status == "missing":
        return [row]
    fact = facts["horovod"]
    lacking = [part for part in ("MPI", "Gloo") if not fact[part]]
    if lacking:
        return [Finding("horovod", "missing", f"{row.found}, built without {' and '.join(lacking)}", REPAIR)]
    if not facts["torch"].get("cuda"):
        return [row]
    if fact["NCCL"]:
        return [row, Finding("horovod on GPUs", "ok", "NCCL")]
    toolkit = f"install the CUDA {facts['torch']['cuda']} toolkit (nvcc and headers), then: {REPAIR}"
    return [row, Finding("horovod on GPUs", "optional", "built without NCCL", toolkit)]


def distribution(name: str, purpose: str) -> Finding:
    """A package that must be installed and importable."""
    version = installed_version(name)
    if version is None or util.find_spec(name.replace("-", "_")) is None:
        return Finding(name, "missing", f"not installed; {purpose}", REPAIR)
    return Finding(name, "ok", version)


def installed_version(name: str) -> str | None:
    """Version of an installed package, without a local label such as ``+cpu``; None if absent."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def requirements_folder() -> Path:
    """The pins of this source tree; the folder does not exist beside an installed wheel."""
    return Path(__file__).resolve().parents[3] / "requirements"


def pinned(folder: Path) -> dict[str, str]:
    """Package → pinned version, from all files that are installed."""
    files = [folder / f"{stem}.txt" for stem in ("lock", "torch", "nodeps", "horovod")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files if file.exists())
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, flags=re.MULTILINE))


def pins(wanted: Mapping[str, str], installed: Any = installed_version) -> Finding:
    """Whether installed versions are the tested ones.

    Args:
        wanted: Package → pinned version.
        installed: Looks up the version of an installed package.
    """
    if not wanted:
        return Finding("pinned versions", "optional", "no requirements/ beside this package", "run from a clone")
    have = {name: installed(name) for name in wanted}
    off = [f"{name} {have[name] or 'absent'}, pinned {wanted[name]}" for name in wanted if have[name] != wanted[name]]
    if not off:
        return Finding("pinned versions", "ok", f"all {len(wanted)} installed as pinned")
    more = f" and {len(off) - 3} more" if len(off) > 3 else ""
    return Finding("pinned versions", "missing", "; ".join(off[:3]) + more, REPAIR)


def engine(facts: Mapping[str, Mapping[str, Any]], source: Path) -> Finding:
    """The rehearsal engine: required in a clone, whose campaigns use it by default.

    Args:
        facts: What ``probe`` found.
        source: Folder of its source, which does not exist beside an installed wheel.
    """
    row = library("neomem", facts)
    if row.status == "ok":
        return row
    if source.exists():
        return Finding("neomem", "missing", row.found, f"{sys.executable} -m {BUILD_ENGINE}")
    return Finding("neomem", "optional", row.found, f"in a clone: {BUILD_ENGINE}")


def disk(free_bytes: int) -> Finding:
    """Room for data sets and checkpoints."""
    found = f"{free_bytes / _GIB:.1f} GiB free in this folder"
    if free_bytes >= 5 * _GIB:
        return Finding("disk", "ok", found)
    status: Literal["missing", "optional"] = "missing" if free_bytes < _GIB else "optional"
    return Finding("disk", status, found, "free some space; large data sets want more than 5 GiB")


def shared_memory(mount: Path) -> Finding:
    """Data loader processes and ranks of one node share memory here."""
    remedy = "mount -o remount,size=2G /dev/shm (in a container: --shm-size=2g)"
    if not os.access(mount, os.W_OK):
        return Finding("shared memory", "missing", f"{mount} cannot be written", remedy)
    size_bytes = shutil.disk_usage(mount).total
    found = f"{size_bytes / _GIB:.2f} GiB at {mount}"
    if size_bytes >= _GIB:
        return Finding("shared memory", "ok", found)
    status: Literal["missing", "optional"] = "missing" if size_bytes < 2**26 else "optional"
    return Finding("shared memory", status, found, remedy)
