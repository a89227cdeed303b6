"""A dataset opened and divided into tasks, with its labels checked and renumbered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rehearse.core import registry
from rehearse.core.config import plugin_config
from rehearse.core.errors import DataError
from rehearse.core.experiment import Experiment
from rehearse.core.protocols import Dataset, DatasetInfo, Scenario, Split, Stream, TaskSpec
from rehearse.core.staging import open_dataset


@dataclass(frozen=True, slots=True)
class Data:
    """What a run trains and evaluates on.

    Attributes:
        info: Shapes, classes and normalisation.
        train: Training samples.
        test: Test samples.
        train_labels: ``(n,)`` int64, renumbered by the scenario.
        test_labels: ``(n,)`` int64, renumbered by the scenario.
        stream: The tasks.
    """

    info: DatasetInfo
    train: Split
    test: Split
    train_labels: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    stream: Stream


def load_data(experiment: Experiment, dataset_dir: Path, num_ranks: int) -> Data:
    """Open the staged dataset and divide it.

    Raises:
        DataError: Not staged, a label out of range, an empty task, or a task with fewer samples than ranks.
    """
    dataset: Dataset = open_dataset(experiment.dataset, dataset_dir)
    train, test = dataset.split(train=True), dataset.split(train=False)
    for name, split in (("training", train), ("test", test)):
        check_labels(split.labels, dataset.info.num_classes, f"{experiment.dataset.name}: {name} set")
    stream = _divide(experiment, train.labels, test.labels, dataset.info.num_classes)
    if experiment.concatenate_tasksets:
        stream = concatenate(stream)
    for task in stream.tasks:
        _check_size(task, num_ranks)
    return Data(
        info=dataset.info,
        train=train,
        test=test,
        train_labels=stream.class_map[train.labels],
        test_labels=stream.class_map[test.labels],
        stream=stream,
    )


def check_labels(labels: NDArray[np.int64], num_classes: int, what: str) -> None:
    """Refuse labels outside ``[0, num_classes)``.

    Raises:
        DataError: Names the first such label and its position.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        raise DataError(
            f"{what}: label {labels[wrong[0]]} of sample {wrong[0]} is out of range 0–{num_classes - 1} "
            f"({wrong.size} such labels)"
        )


def concatenate(stream: Stream) -> Stream:
    """Let task t train on the union of tasks 0..t; test sets stay apart."""
    tasks = tuple(
        replace(task, train=np.concatenate([earlier.train for earlier in stream.tasks[: task.id + 1]]))
        for task in stream.tasks
    )
    return replace(stream, tasks=tasks)


def _divide(
    experiment: Experiment, train_labels: NDArray[np.int64], test_labels: NDArray[np.int64], num_classes: int
) -> Stream:
    if experiment.scenario is None:
        everything = TaskSpec(
            id=0,
            train=np.arange(len(train_labels)),
            test=np.arange(len(test_labels)),
            classes=tuple(range(num_classes)),
        )
        return Stream(tasks=(everything,), class_map=np.arange(num_classes))
    kind: type[Scenario] = registry.get("scenarios", experiment.scenario.name)
    scenario = kind(plugin_config(experiment.scenario))
    return scenario.split(train_labels, test_labels, num_classes, experiment.seed)


def _check_size(task: TaskSpec, num_ranks: int) -> None:
    if len(task.train) == 0 or len(task.test) == 0:
        raise DataError(f"task {task.id} has {len(task.train)} training and {len(task.test)} test samples")
    if len(task.train) < num_ranks:
        raise DataError(f"task {task.id} has {len(task.train)} training samples, fewer than {num_ranks} ranks")
