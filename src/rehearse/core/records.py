"""What a run leaves behind: typed records that every figure, table and tracker reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import Field, ValidationError

from rehearse.core.cell import Cell
from rehearse.core.config import Model
from rehearse.core.errors import DataError, OutputError
from rehearse.core.problems import explain, problem_list

EventKind = Literal["run_start", "task_start", "step", "epoch", "evaluation", "task_end", "run_end", "error"]
Value = float | int | str | bool | None


class Event(Model):
    """One line of ``events.jsonl``."""

    kind: EventKind = Field(description="What happened.")
    seconds: float = Field(description="Since the start of the run, in s.")
    task: int | None = Field(default=None, description="Task, from 0.")
    epoch: int | None = Field(default=None, description="Epoch of the task, from 0.")
    step: int | None = Field(default=None, description="Step of the run, from 0.")
    values: dict[str, Value] = Field(default_factory=dict, description="Numbers by name, unit in the name.")


class PhaseTimes(Model):
    """Time of one phase of a training step over a run, in ms."""

    mean_ms: float
    p50_ms: float
    p99_ms: float
    total_s: float


class Metrics(Model):
    """Continual-learning metrics of one accuracy matrix, fractions 0–1; None where undefined."""

    faa: float | None = Field(description="Final average accuracy.")
    caa: float | None = Field(description="Cumulative average accuracy.")
    forgetting: float | None = Field(description="Mean drop from the best accuracy to the final one.")
    bwt: float | None = Field(description="Backward transfer.")
    fwt: float | None = Field(description="Forward transfer against the untrained network.")


Matrix = tuple[tuple[float | None, ...], ...]


class Summary(Model):
    """``summary.json``: complete only at the end of a run, enough for every figure."""

    format: Literal[1] = 1
    complete: Literal[True] = True
    cell: Cell
    num_ranks: int
    num_nodes: int
    num_tasks: int
    classes: tuple[tuple[int, ...], ...] = Field(description="Classes of each task.")
    num_train_samples: int
    num_parameters: int
    top1: Matrix = Field(description="top1[t][i]: accuracy on task i after task t, 0–1; None: not evaluated.")
    top5: Matrix
    top1_untrained: tuple[float, ...] = Field(description="Accuracy per task before training; empty: not evaluated.")
    metrics_top1: Metrics
    metrics_top5: Metrics
    num_steps: tuple[int, ...] = Field(description="Optimiser steps per task.")
    training_s: tuple[float, ...] = Field(description="Training time per task, evaluation apart, in s.")
    evaluation_s: tuple[float, ...] = Field(description="Evaluation time after each task, in s.")
    startup_s: float = Field(description="From process start to the first step, in s.")
    phases: dict[str, PhaseTimes] = Field(description="Time per phase of a training step.")
    timing_overhead_fraction: float = Field(description="Share of the step spent on measuring it, 0–1.")
    buffer: dict[str, float] | None = Field(description="Buffer statistics summed over ranks, units in the keys.")
    buffer_fill: tuple[dict[str, int], ...] | None = Field(description="Representatives per class, by rank.")
    parameter_sha256: str = Field(description="Hash of all final parameters, equal on all ranks.")


class RunFiles:
    """Names of the files in a run directory; the only place that spells them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "config.json"
        self.summary = directory / "summary.json"
        self.events = directory / "events.jsonl"
        self.accuracy_matrix = directory / "accuracy_matrix.csv"
        self.provenance = directory / "provenance.json"
        self.checkpoints = directory / "checkpoints"


class EventWriter:
    """Appends records to ``events.jsonl``; every line is complete on disk when ``write`` returns.

    Raises:
        OutputError: The file cannot be written, for example because the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = path.open("w", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error

    def write(self, event: Event) -> None:
        """Append one record."""
        try:
            self._file.write(event.model_dump_json(exclude_defaults=True) + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_events(path: Path) -> Iterator[Event]:
    """Records of a run, in order; a last line cut short by a kill is left out.

    Raises:
        DataError: A line in the middle is damaged.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            yield Event.model_validate_json(line)
        except ValidationError as error:
            if number == len(lines):
                return
            raise DataError(problem_list(f"{path}:{number}", explain(Event, error))) from None


def read_summary(path: Path) -> Summary:
    """A run's summary.

    Raises:
        DataError: Missing, incomplete or damaged.
    """
    try:
        return Summary.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; the run has not finished") from None
    except ValidationError as error:
        raise DataError(problem_list(str(path), explain(Summary, error))) from None


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that readers see the old text or the new one, never a part.

    Raises:
        OutputError: The file cannot be written; the old one is untouched.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def to_json(document: Any) -> str:
    """Indented JSON with a newline at the end."""
    return json.dumps(document, indent=2) + "\n"
