"""What rehearsal costs: ER's step ÷ vanilla's step, against the (b + r) ÷ b that it computes more.

Two ranks train one network on random samples of the shapes of MNIST and CIFAR-100, without a buffer
and with each kind of buffer in turns. An overhead ratio of 1 means that rehearsal costs nothing but
the samples it adds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pandas as pd

MINIBATCH, REPRESENTATIVES, CANDIDATES, NUM_RANKS = 56, 7, 14, 2
PROGRAM = Path(__file__).with_name("programs") / "training_steps.py"
LAUNCH = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(NUM_RANKS)]
RATES = {"num_representatives": REPRESENTATIVES, "num_candidates": CANDIDATES, "budget": 2000}
BUFFERS: dict[str, dict[str, object]] = {
    "none": {},
    "python": {"name": "python", **RATES},
    "neomem flyweight": {"name": "neomem", "implementation": "flyweight", **RATES},
    "neomem standard": {"name": "neomem", "implementation": "standard", **RATES},
}
SETTINGS = {
    "MNIST": {"backbone": "mnistnet", "shape": [1, 28, 28], "num_classes": 10, "turns": 8, "steps_per_turn": 9},
    "CIFAR-100": {"backbone": "resnet18", "shape": [3, 32, 32], "num_classes": 100, "turns": 5, "steps_per_turn": 3},
}
COMMUNICATORS = {"MNIST": ("horovod", "torch"), "CIFAR-100": ("horovod",)}


def measure() -> pd.DataFrame:
    """One row per shape, communicator and buffer."""
    rows = []
    for shapes, setting in SETTINGS.items():
        for communicator in COMMUNICATORS[shapes]:
            times = _run(communicator, setting)
            vanilla_ms = statistics.median(step_ms for step_ms, _ in times["none"])
            for buffer in BUFFERS:
                if buffer != "none":
                    row = {"shapes": shapes, "backbone": setting["backbone"], "communicator": communicator}
                    rows.append({**row, "buffer": buffer, **_costs(times[buffer], vanilla_ms)})
    return pd.DataFrame(rows)


def _run(communicator: str, setting: dict[str, object]) -> dict[str, list[list[float]]]:
    """(step, wait) in ms of every timed step, by buffer."""
    settings = {**setting, "batch_size": MINIBATCH, "budget": RATES["budget"], "buffers": BUFFERS}
    done = subprocess.run(
        [*LAUNCH, sys.executable, PROGRAM, communicator, json.dumps(settings)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    times: dict[str, list[list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return times


def _costs(times: list[list[float]], vanilla_ms: float) -> dict[str, float]:
    er_ms = statistics.median(step_ms for step_ms, _ in times)
    samples_ratio = (MINIBATCH + REPRESENTATIVES) / MINIBATCH
    waits_ms = sorted(wait_ms for _, wait_ms in times)
    return {
        "vanilla_step_ms": round(vanilla_ms, 3),
        "er_step_ms": round(er_ms, 3),
        "er_per_vanilla_ratio": round(er_ms / vanilla_ms, 3),
        "samples_ratio": samples_ratio,
        "overhead_ratio": round(er_ms / vanilla_ms / samples_ratio, 3),
        "wait_p50_ms": round(statistics.median(waits_ms), 3),
        "wait_p99_ms": round(waits_ms[int(0.99 * len(waits_ms))], 3),
    }


if __name__ == "__main__":
    print(measure().to_string(index=False))
