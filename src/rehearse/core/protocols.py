"""What plug-ins promise. Each class here is the contract of one room; a plug-in is a subclass in a file of its own.

The contracts of data, buffers and communication have modules of their own, and are offered here as well.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rehearse.core.buffer_protocols import Buffer, BufferSpec, RecordField
from rehearse.core.config import PluginConfig
from rehearse.core.data_protocols import (
    Dataset,
    DatasetInfo,
    LoadedMinibatch,
    Loader,
    Origin,
    Progress,
    Scenario,
    Split,
    Stream,
    TaskSpec,
)
from rehearse.core.rank_protocols import Communicator, DistributedOptimizer, ReduceOp

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rehearse.core.batch import Batch
    from rehearse.core.experiment import Regime
    from rehearse.core.rehearsal import DrawKind

__all__ = [
    "Backbone",
    "Buffer",
    "BufferSpec",
    "Communicator",
    "Dataset",
    "DatasetInfo",
    "DistributedOptimizer",
    "LoadedMinibatch",
    "Loader",
    "Origin",
    "Progress",
    "RecordField",
    "ReduceOp",
    "Scenario",
    "Split",
    "Strategy",
    "StrategyContext",
    "Stream",
    "TaskSpec",
]


class Backbone(ABC):
    """A network and the optimiser regime it is usually trained with."""

    Config: ClassVar[type[PluginConfig]]
    regime: ClassVar[Regime]

    @classmethod
    @abstractmethod
    def build(cls, config: PluginConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """A freshly initialised network: ``(n, *input_shape)`` float32 → ``(n, num_classes)`` logits."""


@dataclass(frozen=True, slots=True)
class StrategyContext:
    """What a strategy may use.

    Attributes:
        model: The network being trained.
        criterion: ``(outputs, batch) → (n,)`` loss of each sample.
        communicator: For strategies that reduce something themselves.
    """

    model: nn.Module
    criterion: Callable[[Tensor, Batch], Tensor]
    communicator: Communicator


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the network into evaluation mode, and each of its layers back into the mode it was in."""
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


class Strategy(ABC):
    """How forgetting is fought: says what the loss of a step is; the loop owns the rest.

    Attributes:
        rehearses: Whether it needs a rehearsal buffer.
        stores: What it keeps beside input and label, such as ``{"logits"}``.
        draws: What each independent draw of a step's representatives is for.
    """

    Config: ClassVar[type[PluginConfig]]
    rehearses: ClassVar[bool] = False
    stores: ClassVar[frozenset[str]] = frozenset()
    draws: ClassVar[tuple[DrawKind, ...]] = ("augmentation",)

    def __init__(self, config: PluginConfig, context: StrategyContext) -> None:
        self.config = config
        self.model = context.model
        self.criterion = context.criterion
        self.communicator = context.communicator

    @property
    def reinitializes(self) -> bool:
        """Whether each task starts from the initial weights."""
        return False

    def begin_task(self, task: TaskSpec) -> None:
        """Called before a task's first minibatch."""

    def outputs(self, batch: Batch) -> Tensor:
        """The network's outputs, ``(n, num_classes)``.

        Without samples they are empty, but still give every parameter a gradient of zero, so that a
        rank which ran out takes part in the step.
        """
        if len(batch):
            outputs: Tensor = self.model(batch.inputs)
            return outputs
        with evaluating(self.model):
            outputs = self.model(batch.inputs.new_zeros(1, *batch.inputs.shape[1:]))
        return outputs[:0]

    def mean_loss(self, batch: Batch) -> Tensor:
        """This rank's share of the criterion's mean over the samples of all ranks."""
        return batch.mean(self.criterion(self.outputs(batch), batch))

    @abstractmethod
    def loss(self, minibatch: Batch, draws: tuple[Batch, ...]) -> Tensor:
        """This rank's share of the loss, a scalar; build it with ``outputs`` and ``Batch.mean``.

        Args:
            minibatch: b samples of the current task, normalised, on the device; none where a rank ran out.
            draws: For each of the strategy's ``draws``, r samples drawn in the previous round; of length 0
                before the first.
        """

    def stored_fields(self, output_shape: tuple[int, ...]) -> Mapping[str, RecordField]:
        """Dtype and shape of what it stores, by the names in ``stores``.

        Args:
            output_shape: Of the network's outputs for one sample.
        """
        return {}

    def stored(self) -> Mapping[str, Tensor]:
        """What to keep with each sample of the minibatch that ``loss`` had last, as ``stored_fields`` says."""
        return {}

    def adjust_gradients(self) -> None:
        """Change the gradients after they were averaged over ranks and before the optimiser steps.

        Called in every step on every rank, after ``loss``, so it may be collective.
        """

    def end_task(self, task: TaskSpec) -> None:
        """Called after a task's last minibatch."""

    def state_dict(self) -> dict[str, Any]:
        """State to checkpoint: tensors, numbers, strings, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
