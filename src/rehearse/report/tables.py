"""A campaign's records as tables: fractions 0–1, times in s or ms, tasks counted from 1."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from rehearse.core.records import Metrics, write_atomically
from rehearse.report.load import Run, Runs
from rehearse.report.statistics import spread

GROUP = ["dataset", "strategy", "scaling"]
KEY = [*GROUP, "num_ranks", "seed"]

Row = dict[str, Any]


def cells(runs: Runs) -> pd.DataFrame:
    """One row per cell: metrics, times and sizes."""
    return _table(runs, _cell_row)


def summary(runs: Runs) -> pd.DataFrame:
    """One row per dataset, strategy and scaling: mean, deviation, interval and n over seeds of each quantity."""
    frame = cells(runs)
    quantities = [name for name in frame.columns if name.endswith(("_fraction", "_s"))]
    rows = []
    for key, group in frame.groupby([*GROUP, "num_ranks"], sort=False):
        row: Row = dict(zip([*GROUP, "num_ranks"], key, strict=True)) | {"num_seeds": len(group)}
        for quantity in quantities:
            row |= _spread_columns(quantity, group[quantity])
        rows.append(row)
    return pd.DataFrame(rows)


def accuracy_per_task(runs: Runs) -> pd.DataFrame:
    """One row per cell and task: mean accuracy over the tasks seen so far, and times."""
    return _table(runs, _task_rows)


def accuracy_matrix(runs: Runs) -> pd.DataFrame:
    """One row per cell, task trained and task evaluated; empty where nothing was evaluated."""
    return _table(runs, _matrix_rows)


def phases(runs: Runs) -> pd.DataFrame:
    """One row per cell and phase of a training step."""
    return _table(runs, _phase_rows)


def buffer(runs: Runs) -> pd.DataFrame:
    """One row per cell and buffer statistic, whose name carries its unit."""
    return _table(runs, _buffer_rows, ["statistic", "value"])


def buffer_fill(runs: Runs) -> pd.DataFrame:
    """One row per cell, rank and class: representatives in the shard at the end."""
    return _table(runs, _fill_rows, ["rank", "class", "num_representatives"])


TABLES: dict[str, Callable[[Runs], pd.DataFrame]] = {
    "summary": summary,
    "cells": cells,
    "accuracy_per_task": accuracy_per_task,
    "accuracy_matrix": accuracy_matrix,
    "phases": phases,
    "buffer": buffer,
    "buffer_fill": buffer_fill,
}


def select(frame: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows whose columns have the given values, such as ``dataset="digits"``."""
    matches = pd.Series(True, index=frame.index)
    for column, value in values.items():
        matches &= frame[column] == value
    return frame[matches]


def csv_text(frame: pd.DataFrame) -> str:
    """The table as CSV; ten digits, so that no rounding noise of binary fractions shows."""
    text: str = frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    return text


def write_tables(runs: Runs, directory: Path) -> list[Path]:
    """Write every table as ``<name>.csv``.

    Raises:
        OutputError: A file cannot be written.
    """
    paths = []
    for name, build in TABLES.items():
        paths.append(directory / f"{name}.csv")
        write_atomically(paths[-1], csv_text(build(runs)))
    return paths


def seen_accuracy(matrix: tuple[tuple[float | None, ...], ...], task: int) -> float | None:
    """Mean accuracy over tasks 0..task after training ``task``; None if one of them was not evaluated."""
    row = matrix[task][: task + 1]
    known = [value for value in row if value is not None]
    return fmean(known) if len(known) == task + 1 else None


def _table(runs: Runs, rows_of: Callable[[Run], Iterable[Row]], columns: list[str] | None = None) -> pd.DataFrame:
    rows = [{**_key(run), **row} for run in runs.finished for row in rows_of(run)]
    return pd.DataFrame(rows, columns=[*KEY, *columns] if columns and not rows else None)


def _key(run: Run) -> Row:
    cell = run.cell
    identity = (cell.dataset, cell.strategy, cell.scaling, cell.num_ranks, cell.seed)
    return dict(zip(KEY, identity, strict=True))


def _cell_row(run: Run) -> Iterable[Row]:
    found = run.summary
    yield {
        "num_nodes": found.num_nodes,
        "num_tasks": found.num_tasks,
        "num_train_samples": found.num_train_samples,
        "num_parameters": found.num_parameters,
        "num_steps": sum(found.num_steps),
        **_metric_columns(found.metrics_top1, ""),
        **_metric_columns(found.metrics_top5, "_top5"),
        "training_s": sum(found.training_s),
        "evaluation_s": sum(found.evaluation_s),
        "startup_s": found.startup_s,
        "timing_overhead_fraction": found.timing_overhead_fraction,
        "parameter_sha256": found.parameter_sha256,
        "directory": f"cells/{run.cell.id}",
    }


def _metric_columns(metrics: Metrics, suffix: str) -> Row:
    return {f"{name}{suffix}_fraction": _number(value) for name, value in metrics.model_dump().items()}


def _spread_columns(quantity: str, values: pd.Series[float]) -> Row:
    """``training_s`` → ``training_mean_s``, ``training_sd_s``, ``training_ci95_s``, ``training_num_seeds``."""
    stem, _, unit = quantity.rpartition("_")
    found = spread(values)
    return {
        f"{stem}_mean_{unit}": found.mean,
        f"{stem}_sd_{unit}": found.sd,
        f"{stem}_ci95_{unit}": found.ci95,
        f"{stem}_num_seeds": found.num_seeds,
    }


def _task_rows(run: Run) -> Iterable[Row]:
    found = run.summary
    cumulative_s = list(itertools.accumulate(found.training_s))
    for task in range(found.num_tasks):
        yield {
            "num_tasks_seen": task + 1,
            "accuracy_top1_fraction": _number(seen_accuracy(found.top1, task)),
            "accuracy_top5_fraction": _number(seen_accuracy(found.top5, task)),
            "num_steps": found.num_steps[task],
            "training_s": found.training_s[task],
            "cumulative_training_s": cumulative_s[task],
            "evaluation_s": found.evaluation_s[task],
        }


def _matrix_rows(run: Run) -> Iterable[Row]:
    found = run.summary
    for after, on in itertools.product(range(found.num_tasks), repeat=2):
        yield {
            "after_task": after + 1,
            "on_task": on + 1,
            "accuracy_top1_fraction": _number(found.top1[after][on]),
            "accuracy_top5_fraction": _number(found.top5[after][on]),
        }


def _phase_rows(run: Run) -> Iterable[Row]:
    for phase, times in run.summary.phases.items():
        yield {"phase": phase, **times.model_dump()}


def _buffer_rows(run: Run) -> Iterable[Row]:
    for statistic, value in (run.summary.buffer or {}).items():
        yield {"statistic": statistic, "value": value}


def _fill_rows(run: Run) -> Iterable[Row]:
    for rank, fill in enumerate(run.summary.buffer_fill or ()):
        for label, num in fill.items():
            yield {"rank": rank, "class": label, "num_representatives": num}


def _number(value: float | None) -> float:
    """None becomes NaN, so that a column of undefined values stays a column of numbers."""
    return float("nan") if value is None else value
