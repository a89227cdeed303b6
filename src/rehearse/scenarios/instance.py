"""Instance-incremental stream: every task has all classes, each time other samples of them."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rehearse.core.config import PluginConfig
from rehearse.core.errors import DataError
from rehearse.core.log import logger
from rehearse.core.protocols import Scenario, Stream, TaskSpec
from rehearse.core.registry import register
from rehearse.scenarios._continuum import (
    Positions,
    checked,
    import_continuum,
    in_memory,
    positions_by_task,
    quietly,
)


class InstanceOptions(PluginConfig):
    """Options under any name of the scenario."""

    num_tasks: int = Field(ge=1, description="Tasks that share each class's samples evenly.")


class InstanceScenarioConfig(InstanceOptions):
    """Options of the instance-incremental scenario."""

    name: Literal["instance"] = "instance"


@register
class InstanceScenario(Scenario):
    """Each class's samples are divided in their order in the dataset; what is left over joins the first task."""

    Config: ClassVar[type[InstanceOptions]] = InstanceScenarioConfig

    def __init__(self, config: InstanceOptions) -> None:
        self._config = config
        self._continuum = import_continuum(f"scenario {config.name}")

    def split(
        self, train_labels: NDArray[np.int64], test_labels: NDArray[np.int64], num_classes: int, seed: int
    ) -> Stream:
        """Divide training and test samples alike; nothing is random, so ``seed`` plays no role.

        Raises:
            DataError: No class has as many samples as there are tasks.
        """
        train, test = self._divide(train_labels, "training"), self._divide(test_labels, "test")
        tasks = [
            TaskSpec(
                id=task,
                train=train[task],
                test=test[task],
                classes=tuple(np.unique(train_labels[train[task]]).tolist()),
            )
            for task in range(self._config.num_tasks)
        ]
        return Stream(tasks=tuple(map(checked, tasks)), class_map=np.arange(num_classes))

    def _divide(self, labels: NDArray[np.int64], what: str) -> list[Positions]:
        num_tasks = self._config.num_tasks
        counts = np.bincount(labels)
        largest = int(counts.max(initial=0))
        if largest < num_tasks:
            raise DataError(
                f"scenario {self._config.name}: num_tasks is {num_tasks}, but no class has more than {largest} "
                f"{what} samples, so that tasks would be empty; lower num_tasks to {max(largest, 1)} at most"
            )
        scarce = np.flatnonzero((counts > 0) & (counts < num_tasks))
        if len(scarce):
            logger.warning(
                "scenario %s: %d classes have fewer %s samples than the %d tasks; the first task takes them all",
                self._config.name,
                len(scarce),
                what,
                num_tasks,
            )
        scenario = quietly(
            self._continuum.scenarios.InstanceIncremental, in_memory(self._continuum, labels), nb_tasks=num_tasks
        )
        return positions_by_task(scenario)
