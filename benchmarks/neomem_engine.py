"""What the engine costs beside a memcpy of the same bytes: drawing, offering, growing, over a network, in training.

Builds ``neomem_bench`` (CMake preset release) and takes medians over its blocks, each of which times
the engine and the memcpy in turn. Ratios are memcpy ÷ engine: 1 means that nothing is lost.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ENGINE = Path(__file__).parents[1] / "neomem"
COLUMNS = ["measure", "variant", "block", "p50_us", "p99_us", "reference_us"]
TARGETS = {"shm_sample": 0.95, "tcp_sample": 0.25}
STEP_US = 25_000.0
SUITES = ["shm", "offer", "size", "tcp", "train"]


def build() -> Path:
    """The benchmark program, built if its sources changed."""
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in (
        ["cmake", "--preset", "release"],
        ["cmake", "--build", "--preset", "release", "-t", "neomem_bench"],
    ):
        subprocess.run(command, cwd=ENGINE, check=True, capture_output=True, env=os.environ | path)
    return ENGINE / "build" / "release" / "neomem_bench"


def measure() -> pd.DataFrame:
    """One row per measure and variant."""
    program = build()
    text = subprocess.run([program, *SUITES], check=True, capture_output=True, text=True).stdout
    with Burners():
        busy = subprocess.run([program, "tcp"], check=True, capture_output=True, text=True).stdout
    blocks = pd.read_csv(io.StringIO(text), names=COLUMNS)
    loaded = pd.read_csv(io.StringIO(busy), names=COLUMNS)
    loaded["measure"] = "tcp_sample_busy"
    table = pd.concat([blocks, loaded], ignore_index=True)
    table["ratio"] = table["reference_us"] / table["p50_us"]
    table["p99_per_p50"] = table["p99_us"] / table["p50_us"]
    keys = ["measure", "variant"]
    medians = table.groupby(keys, sort=False).median(numeric_only=True).drop(columns="block").reset_index()
    judged = medians.apply(_judge, axis=1, result_type="expand")
    return pd.concat([medians.round(3), judged], axis=1)


def _judge(row: pd.Series) -> dict[str, object]:
    """The number that the target is about, the target, and whether it is met."""
    measure, variant = row["measure"], row["variant"]
    if measure == "tcp_sample_busy":
        return _verdict("p99 ÷ p50", row["p99_per_p50"], "≤", 3.0)
    if measure == "wait":
        return _verdict("p99 ÷ step", row["p99_us"] / STEP_US, "≤", 0.01)
    if measure == "cpu":
        return _verdict(
            "part of a core", row["p50_us"] / row["reference_us"], "≤", 0.06 if variant == "float32" else 0.02
        )
    if measure == "offer":
        return _verdict("memcpy ÷ engine", row["ratio"], "≥", 0.75 if variant == "588 KB" else None)
    return _verdict("memcpy ÷ engine", row["ratio"], "≥", TARGETS.get(measure))


def _verdict(figure: str, value: float, relation: str, target: float | None) -> dict[str, object]:
    met = None if target is None else (value >= target if relation == "≥" else value <= target)
    return {
        "figure": figure,
        "value": round(value, 4),
        "target": "" if target is None else f"{relation} {target:g}",
        "met": "" if met is None else ("yes" if met else "no"),
    }


class Burners:
    """Keeps every core busy for as long as the block lasts."""

    def __enter__(self) -> None:
        self._processes = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)
        ]

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def plot(table: pd.DataFrame, path: Path) -> None:
    """Cost of a draw of 7 by the number of records, caches emptied before each, beside the memcpy."""
    sizes = table[table["measure"] == "size"].assign(records=lambda rows: rows["variant"].astype(int))
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    axes.plot(sizes["records"], sizes["p50_us"], "o-", label="Neomem: draw, look up, copy")
    axes.plot(sizes["records"], sizes["reference_us"], "s--", label="memcpy of the same bytes")
    axes.set(xscale="log", xlabel="records held", ylabel="µs, median", ylim=(0, None))
    axes.set_title("7 records of 3 KB, caches empty")
    axes.legend()
    figure.savefig(path)
    plt.close(figure)
