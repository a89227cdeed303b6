"""Class-incremental stream: each task brings classes that no task had before."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rehearse.core.config import PluginConfig
from rehearse.core.errors import ConfigError, DataError
from rehearse.core.protocols import Scenario, Stream, TaskSpec
from rehearse.core.registry import register
from rehearse.scenarios._continuum import checked, import_continuum, in_memory, positions_by_task


class ClassScenarioConfig(PluginConfig):
    """Options of the class-incremental scenario."""

    name: Literal["class"] = "class"
    increment: int = Field(ge=1, description="Classes of each task.")
    initial_increment: int = Field(default=0, ge=0, description="Classes of the first task; 0 takes `increment`.")
    class_order_seed: int | None = Field(
        default=None, ge=0, description="Shuffles the order in which classes appear; absent keeps the dataset's."
    )


@register
class ClassScenario(Scenario):
    """Classes are renumbered in the order in which they appear, so labels ascend along the stream."""

    Config = ClassScenarioConfig

    def __init__(self, config: ClassScenarioConfig) -> None:
        self._config = config
        self._continuum = import_continuum("scenario class")

    def split(
        self, train_labels: NDArray[np.int64], test_labels: NDArray[np.int64], num_classes: int, seed: int
    ) -> Stream:
        """Divide by class; ``seed`` plays no role, the order of classes has one of its own.

        Raises:
            ConfigError: The increments do not add up to the number of classes.
            DataError: A class has no training sample, or a task has no test sample.
        """
        increments = self._increments(num_classes)
        class_order = np.arange(num_classes)
        if self._config.class_order_seed is not None:
            class_order = np.random.default_rng(self._config.class_order_seed).permutation(num_classes)
        absent = np.setdiff1d(class_order, train_labels)
        if len(absent):
            raise DataError(
                f"scenario class: {len(absent)} of {num_classes} classes have no training sample, "
                f"the first is class {absent[0]}"
            )
        class_map = np.argsort(class_order)
        train = positions_by_task(
            self._continuum.scenarios.ClassIncremental(
                in_memory(self._continuum, train_labels), increment=increments, class_order=class_order.tolist()
            )
        )
        bounds = pairwise([0, *accumulate(increments)])
        tasks = [
            TaskSpec(
                id=task,
                train=train[task],
                test=np.flatnonzero(np.isin(class_map[test_labels], np.arange(first, end))),
                classes=tuple(range(first, end)),
            )
            for task, (first, end) in enumerate(bounds)
        ]
        return Stream(tasks=tuple(map(checked, tasks)), class_map=class_map)

    def _increments(self, num_classes: int) -> list[int]:
        increment, first = self._config.increment, self._config.initial_increment or self._config.increment
        num_further, left_over = divmod(num_classes - first, increment)
        if num_further < 0 or left_over:
            raise ConfigError(
                f"scenario class: {num_classes} classes cannot be divided into {first} for the first task and "
                f"{increment} for each further one; choose initial_increment and increment so that "
                "initial_increment + n × increment is the number of classes"
            )
        return [first, *[increment] * num_further]
