"""Divides samples among tasks with the Continuum library, by their labels alone."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehearse.core.errors import DataError, MissingDependencyError
from rehearse.core.protocols import TaskSpec
from rehearse.core.torchvision_shim import ensure_torchvision

Positions = NDArray[np.int64]


def import_continuum(needed_for: str) -> Any:
    """The library, whose import leads to torchvision.

    Raises:
        MissingDependencyError: It is not installed.
    """
    ensure_torchvision()
    try:
        import continuum.scenarios
    except ImportError as error:
        library = "continuum" if error.name == "continuum" else f"continuum (its import fails: {error})"
        raise MissingDependencyError(library, needed_for, "pip install --no-deps continuum==1.2.7 six") from None
    return continuum


def in_memory(continuum: Any, labels: NDArray[np.int64]) -> Any:
    """A Continuum dataset whose samples are their own positions."""
    return continuum.datasets.InMemoryDataset(np.arange(len(labels)), labels)


def positions_by_task(scenario: Any) -> list[Positions]:
    """The positions in each task of a Continuum scenario over ``in_memory``, ascending."""
    return [np.asarray(taskset.get_raw_samples()[0], dtype=np.int64) for taskset in scenario]


def quietly(kind: Any, *arguments: Any, **options: Any) -> Any:
    """Build a Continuum scenario; what it would warn of was checked or logged before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(*arguments, **options)


def checked(task: TaskSpec) -> TaskSpec:
    """The task, unless it is empty.

    Raises:
        DataError: It has no training or no test samples.
    """
    if len(task.train) == 0 or len(task.test) == 0:
        raise DataError(
            f"task {task.id} (classes {task.classes}) has {len(task.train)} training and {len(task.test)} test samples"
        )
    return task
