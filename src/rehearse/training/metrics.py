"""Continual-learning metrics of an accuracy matrix.

``A[t][i]`` is the accuracy on task i after training task t; entries may be None where nothing was
evaluated. Definitions: Lopez-Paz and Ranzato, NeurIPS 2017 (BWT, FWT); Chaudhry et al., ECCV 2018
(forgetting).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from rehearse.core.records import Matrix, Metrics


def compute_metrics(matrix: Matrix, untrained: Sequence[float] = ()) -> Metrics:
    """All metrics; each is None where the entries it needs are missing.

    Args:
        matrix: T×T accuracies, fractions 0–1.
        untrained: Accuracy on each task before any training, for FWT.
    """
    last = len(matrix) - 1
    final = matrix[last]
    return Metrics(
        faa=_mean(final),
        caa=_mean(_mean(row[: task + 1]) for task, row in enumerate(matrix)),
        forgetting=_mean(_difference(_best(matrix, task), final[task]) for task in range(last)),
        bwt=_mean(_difference(final[task], matrix[task][task]) for task in range(last)),
        fwt=_mean(_difference(matrix[task - 1][task], untrained[task]) for task in range(1, last + 1))
        if untrained
        else None,
    )


def _best(matrix: Matrix, task: int) -> float | None:
    """Best accuracy on a task before the last one was trained."""
    column = [row[task] for row in matrix[task:-1]]
    seen = [value for value in column if value is not None]
    return max(seen) if len(seen) == len(column) and seen else None


def _difference(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _mean(values: Iterable[float | None]) -> float | None:
    """Mean, or None where there is nothing to average or an entry is missing."""
    entries = list(values)
    known = [value for value in entries if value is not None]
    return fmean(known) if known and len(known) == len(entries) else None
