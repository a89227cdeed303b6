"""What rehearsal costs: ER's step ÷ vanilla's step, against the (b + r) ÷ b that it computes more.

Trains the first task of digits with both strategies in turn, several times, through the command
line. A ratio of 1 means that rehearsal costs nothing but the samples it adds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from rehearse.core.records import RunFiles, read_summary

MINIBATCH, REPRESENTATIVES, REPEATS = 32, 8, 5
BIN = Path(sys.executable).parent
LAUNCH = {1: [], 2: ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", "2"]}


def measure() -> pd.DataFrame:
    """One row per number of ranks and communicator."""
    with tempfile.TemporaryDirectory() as folder:
        datasets = Path(folder) / "datasets"
        subprocess.run(
            [BIN / "rehearse", "stage", "digits", "--dataset-dir", datasets], check=True, capture_output=True
        )
        rows = []
        for ranks, communicator in ((1, "horovod"), (2, "horovod"), (2, "torch")):
            steps = {"vanilla": [], "er": []}
            for _ in range(REPEATS):
                for strategy, times in steps.items():
                    times.append(_step(Path(folder), datasets, strategy, ranks, communicator))
            rows.append(_row(ranks, communicator, steps))
        return pd.DataFrame(rows)


def _row(ranks: int, communicator: str, steps: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    total = {name: statistics.median(sum(phases.values()) for phases in runs) for name, runs in steps.items()}
    waited = statistics.median(phases["wait"] / sum(phases.values()) for phases in steps["er"])
    return {
        "num_ranks": ranks,
        "communicator": communicator if ranks > 1 else "single",
        "vanilla_step_ms": round(total["vanilla"], 3),
        "er_step_ms": round(total["er"], 3),
        "er_per_vanilla_ratio": round(total["er"] / total["vanilla"], 3),
        "samples_ratio": (MINIBATCH + REPRESENTATIVES) / MINIBATCH,
        "wait_fraction": round(waited, 3),
    }


def _step(folder: Path, datasets: Path, strategy: str, ranks: int, communicator: str) -> dict[str, float]:
    """Median time of each phase of one run, in ms."""
    run = folder / "run"
    run.mkdir(exist_ok=True)
    config = run / "config.json"
    config.write_text(json.dumps(_cell(strategy, ranks, communicator)), encoding="utf-8")
    command = [*LAUNCH[ranks], BIN / "rehearse", "train", config, "--dataset-dir", datasets, "--log-level", "warning"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return {name: times.p50_ms for name, times in read_summary(RunFiles(run).summary).phases.items()}


def _cell(strategy: str, ranks: int, communicator: str) -> dict[str, object]:
    buffer = {"name": "python", "rehearsal_ratio": 30, "num_representatives": REPRESENTATIVES, "num_candidates": 14}
    experiment = {
        "dataset": {"name": "digits"},
        "backbone": {"name": "resnet18"},
        "strategy": {"name": strategy},
        "communicator": {"name": communicator},
        "training": {"epochs": 1, "warmup_epochs": 0, "batch_size": MINIBATCH, "limit_batches": 20},
    }
    if strategy == "er":
        experiment["buffer"] = buffer
    return {
        "campaign": "benchmark",
        "dataset": "digits",
        "strategy": strategy,
        "scaling": f"n1r{ranks}",
        "experiment": experiment,
    }


if __name__ == "__main__":
    print(measure().to_string(index=False))
