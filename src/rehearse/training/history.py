"""What a run has measured so far, and the summary made of it."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field

from rehearse.core.records import Matrix
from rehearse.training.evaluate import TaskAccuracy


@dataclass(slots=True)
class History:
    """Accuracies and times, task after task.

    Attributes:
        num_tasks: Length of the stream.
        top1: Row t: accuracy on each task after task t, None where not evaluated.
        top5: The same for top-5.
        untrained: Top-1 accuracy per task before training.
        num_steps: Optimiser steps of each task.
        training_s: Training time of each task, evaluation apart.
        evaluation_s: Evaluation time after each task.
    """

    num_tasks: int
    top1: list[list[float | None]] = field(default_factory=list)
    top5: list[list[float | None]] = field(default_factory=list)
    untrained: list[float] = field(default_factory=list)
    num_steps: list[int] = field(default_factory=list)
    training_s: list[float] = field(default_factory=list)
    evaluation_s: list[float] = field(default_factory=list)

    def add_row(self, accuracies: list[TaskAccuracy]) -> None:
        """Append the accuracies after a task, given for the first tasks of the stream."""
        missing = [None] * (self.num_tasks - len(accuracies))
        self.top1.append([*(accuracy.top1 for accuracy in accuracies), *missing])
        self.top5.append([*(accuracy.top5 for accuracy in accuracies), *missing])


def freeze(rows: list[list[float | None]]) -> Matrix:
    """A matrix as the summary holds it."""
    return tuple(tuple(row) for row in rows)


def matrix_csv(top1: Matrix, top5: Matrix) -> str:
    """Accuracies as CSV, one line per (task trained, task evaluated)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["after_task", "on_task", "top1_fraction", "top5_fraction"])
    for task, (row1, row5) in enumerate(zip(top1, top5, strict=True)):
        for other, (value1, value5) in enumerate(zip(row1, row5, strict=True)):
            if value1 is not None:
                writer.writerow([task, other, repr(value1), repr(value5)])
    return text.getvalue()
