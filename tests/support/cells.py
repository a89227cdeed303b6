"""Small cells to train in tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

from rehearse.core.cell import Cell
from rehearse.core.config import validate
from rehearse.core.records import RunFiles, read_summary

REHEARSE = [str(Path(sys.executable).with_name("rehearse"))]
ER_BUFFER = {"name": "neomem", "rehearsal_ratio": 20, "num_representatives": 5, "num_candidates": 8}


def document(strategy="vanilla", scaling="n1r1", seed=1, training=None, experiment=None, buffer=None):
    """A cell on the bundled digits, 5 tasks of 2 classes, as the dict that config.json holds."""
    buffer = {"buffer": {**ER_BUFFER, **(buffer or {})}} if strategy != "vanilla" else {}
    return {
        "campaign": "test",
        "dataset": "digits",
        "strategy": strategy,
        "scaling": scaling,
        "experiment": {
            "dataset": {"name": "digits"},
            "scenario": {"name": "class", "initial_increment": 2, "increment": 2},
            "backbone": {"name": "mnistnet"},
            "strategy": {"name": strategy},
            "training": {"epochs": 1, "warmup_epochs": 0, "batch_size": 16, "lr": 0.05, **(training or {})},
            "seed": seed,
            **buffer,
            **(experiment or {}),
        },
    }


def write(folder, **choices):
    """Write config.json into a new folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    path.write_text(json.dumps(document(**choices)), encoding="utf-8")
    return path


def environment(**changes):
    """This process's environment with one thread per rank, so that results do not depend on the machine."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **changes}


def rehearse(*arguments, timeout_s=120, **changes):
    """Run the command line on one rank; returns the completed process."""
    return subprocess.run(
        [*REHEARSE, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment(**changes),
        check=False,
    )


def train(config, dataset_dir, *arguments, **changes):
    """Run ``rehearse train`` on one rank; returns the completed process."""
    return rehearse("train", config, "--dataset-dir", dataset_dir, *arguments, **changes)


def results(folder):
    """(summary, bytes of accuracy_matrix.csv) of a finished run."""
    files = RunFiles(folder)
    return read_summary(files.summary), files.accuracy_matrix.read_bytes()


def cell(**choices):
    """The typed cell."""
    return validate(Cell, document(**choices), source="test cell")
