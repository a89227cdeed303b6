"""Drawing 64 records in one process, beside numpy's gather and other buffers.

Each way runs in a process of its own and times itself in turn with the gather. What the project does not
need itself is installed, pinned, into an environment under ``neomem/build``, never into ``.venv``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
from matplotlib import pyplot as plt

PROGRAM = Path(__file__).parent / "programs" / "sample_in_process.py"
ENVIRONMENTS = Path(__file__).parents[1] / "neomem" / "build" / "peers"
CASES = [("3x32x32", "uint8", 10_000), ("3x224x224", "uint8", 2_000), ("3x224x224", "float32", 600)]
OURS, GATHER_TARGET, TIMEOUT_S = "neomem", 0.95, 300
# Way: pinned packages, and whether the project's own packages are seen too.
WAYS: dict[str, tuple[list[str], bool]] = {
    OURS: ([], True),
    "avalanche": ([], True),
    "mammoth": ([], True),
    "rpc": ([], True),
    "cpprb": (["cpprb==11.0.0"], True),
    "torchrl": (
        ["torchrl==0.14.1", "tensordict==0.15.3", "pyvers==0.2.3", "orjson==3.13.0", "importlib_metadata==10.2.0"],
        True,
    ),
    "reverb": (["dm-reverb[tensorflow]==0.14.0", "numpy<2"], False),
}


def measure() -> pd.DataFrame:
    """One row per way and kind of record; a way that cannot be installed says so in ``note``."""
    rows = [_row(way, case) for case in CASES for way in WAYS]
    table = pd.DataFrame(rows)
    ours = table[table["way"] == OURS].set_index("records")["ratio"]
    table["neomem_is_faster"] = (table["records"].map(ours) / table["ratio"]).round(1)
    return table


def _row(way: str, case: tuple[str, str, int]) -> dict[str, object]:
    row: dict[str, object] = {"records": f"{case[0]} {case[1]}", "way": way}
    try:
        blocks = _run(way, case)
    except subprocess.SubprocessError as error:
        output = getattr(error, "stderr", None) or str(error)
        return row | {"note": str(output).strip().splitlines()[-1][:100]}
    ratio = statistics.median(gather / operation for operation, gather in blocks)
    return row | {
        "us": statistics.median(operation for operation, _ in blocks),
        "gather_us": statistics.median(gather for _, gather in blocks),
        "ratio": round(ratio, 3),
        "met": "" if way != OURS else ("yes" if ratio >= GATHER_TARGET else "no"),
        "note": "",
    }


def _run(way: str, case: tuple[str, str, int]) -> list[tuple[float, float]]:
    command = [_interpreter(way), PROGRAM, way, *map(str, case)]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}  # the gather has one thread, and cores are not only ours
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S, env=alone)
    blocks = [tuple(map(float, line.split())) for line in done.stdout.splitlines() if line[:1].isdigit()]
    return [(operation, gather) for operation, gather in blocks]


def _interpreter(way: str) -> Path:
    """Python of the environment that has what the way needs, made if need be."""
    packages, with_ours = WAYS[way]
    if not packages:
        return Path(sys.executable)
    folder = ENVIRONMENTS / way
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    quiet = {"check": True, "capture_output": True, "text": True}
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], **quiet)  # type: ignore[call-overload]
    options = ["--no-deps"] if with_ours else []
    if with_ours:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (folder / "lib" / version / "site-packages" / "ours.pth").write_text(sysconfig.get_path("purelib"))
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([python, "-m", "pip", "install", "-q", *options, *packages], env=environment, **quiet)  # type: ignore[call-overload]
    (folder / "ready").touch()
    return python


def plot(table: pd.DataFrame, path: Path) -> None:
    """Speed of each way relative to numpy's gather, by kind of record."""
    shown = table.pivot_table(index="way", columns="records", values="ratio", sort=False)
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    shown.plot.bar(ax=axes, rot=0)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set(xlabel="", ylabel="Speed ÷ that of\nnumpy's gather", yscale="log")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    figure.savefig(path)
    plt.close(figure)
