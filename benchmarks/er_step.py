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
from typing import Any

import pandas as pd

NUM_RANKS, BUDGET = 2, 2000
PROGRAM = Path(__file__).with_name("programs") / "training_steps.py"
LAUNCH = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(NUM_RANKS)]
BUFFERS: dict[str, dict[str, object]] = {
    "python": {"name": "python"},
    "neomem flyweight": {"name": "neomem", "implementation": "flyweight"},
    "neomem standard": {"name": "neomem", "implementation": "standard"},
}
# r is an eighth of b, as in the papers; b is theirs where a step does not take seconds on a core.
SETTINGS: dict[str, dict[str, Any]] = {
    "MNIST": {
        "backbone": "mnistnet",
        "shape": [1, 28, 28],
        "num_classes": 10,
        "batch_size": 56,
        "num_representatives": 7,
        "turns": 8,
        "steps_per_turn": 9,
    },
    "CIFAR-100": {
        "backbone": "resnet18",
        "shape": [3, 32, 32],
        "num_classes": 100,
        "batch_size": 16,
        "num_representatives": 2,
        "turns": 6,
        "steps_per_turn": 3,
    },
}
COMMUNICATORS = {"MNIST": ("horovod", "torch"), "CIFAR-100": ("horovod",)}


def measure() -> pd.DataFrame:
    """One row per shape, communicator and buffer."""
    rows = []
    for shapes, setting in SETTINGS.items():
        for communicator in COMMUNICATORS[shapes]:
            times = _run(communicator, setting)
            vanilla_ms = [step_ms for step_ms, _ in times["none"]]
            for buffer in BUFFERS:
                row = {"shapes": shapes, "backbone": setting["backbone"], "communicator": communicator}
                rows.append({**row, "buffer": buffer, **_costs(setting, times[buffer], vanilla_ms)})
    return pd.DataFrame(rows)


def _run(communicator: str, setting: dict[str, Any]) -> dict[str, list[list[float]]]:
    """(step, wait) in ms of every timed step, by buffer."""
    rates = {"budget": BUDGET, "num_representatives": setting["num_representatives"]}
    buffers = {name: {**options, **rates} for name, options in BUFFERS.items()}
    settings = {**setting, "budget": BUDGET, "buffers": {"none": {}, **buffers}}
    done = subprocess.run(
        [*LAUNCH, sys.executable, PROGRAM, communicator, json.dumps(settings)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    times: dict[str, list[list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return times


def _costs(setting: dict[str, Any], times: list[list[float]], vanilla_ms: list[float]) -> dict[str, float]:
    """Each step is compared with the one of the same turn that rehearses nothing: both met the same load."""
    er_ms = [step_ms for step_ms, _ in times]
    ratio = statistics.median(er / vanilla for er, vanilla in zip(er_ms, vanilla_ms, strict=True))
    samples_ratio = 1 + setting["num_representatives"] / setting["batch_size"]
    waits_ms = sorted(wait_ms for _, wait_ms in times)
    return {
        "vanilla_step_ms": round(statistics.median(vanilla_ms), 3),
        "er_step_ms": round(statistics.median(er_ms), 3),
        "er_per_vanilla_ratio": round(ratio, 3),
        "samples_ratio": samples_ratio,
        "overhead_ratio": round(ratio / samples_ratio, 3),
        "wait_p50_ms": round(statistics.median(waits_ms), 3),
        "wait_p99_ms": round(waits_ms[int(0.99 * len(waits_ms))], 3),
    }


if __name__ == "__main__":
    print(measure().to_string(index=False))
