"""What plug-ins promise. Each class here is the contract of one room; a plug-in is a subclass in a file of its own.

The contracts of data and of communication have modules of their own, and are offered here as well.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

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
    from rehearse.core.records import PhaseTimes
    from rehearse.core.rehearsal import BufferConfig

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
    """

    Config: ClassVar[type[PluginConfig]]
    rehearses: ClassVar[bool] = False
    stores: ClassVar[frozenset[str]] = frozenset()

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
    def loss(self, minibatch: Batch, representatives: Batch) -> Tensor:
        """This rank's share of the loss, a scalar; build it with ``outputs`` and ``Batch.mean``.

        Args:
            minibatch: b samples of the current task, normalised, on the device; none where a rank ran out.
            representatives: r samples drawn in the previous round; of length 0 before the first.
        """

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


@dataclass(frozen=True, slots=True)
class RecordField:
    """One named tensor of a stored representative: dtype by its torch name, shape without the batch."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BufferSpec:
    """What a buffer must hold.

    Attributes:
        fields: ``inputs`` and what the strategy stores besides; the label is implied.
        num_classes: Labels are in ``[0, num_classes)``.
        budget: Slots of all ranks together.
        seed: Seeds candidates, victims and draws.
        batch_size: Samples of a minibatch, at most.
    """

    fields: Mapping[str, RecordField]
    num_classes: int
    budget: int
    seed: int
    batch_size: int


class Buffer(ABC):
    """Where representatives live: one shard per rank, draws from the union of all of them.

    ``take`` returns what was drawn after the last ``offer``; nothing before the first.
    """

    Config: ClassVar[type[BufferConfig]]

    @abstractmethod
    def __init__(self, config: BufferConfig, spec: BufferSpec, communicator: Communicator) -> None:
        """Reserve this rank's shard."""

    @abstractmethod
    def offer(self, minibatch: Batch) -> None:
        """Offer the minibatch's samples as candidates and start drawing the next representatives.

        Args:
            minibatch: Stored samples on the host, as the loader gave them; may be empty.

        Raises:
            RehearsalError: Wrong dtype or shape, or a label out of range; nothing is stored.
        """

    @abstractmethod
    def take(self, timeout_s: float = 60.0) -> Batch:
        """Representatives of the last round; an empty batch if nothing was offered yet."""

    def exchange(self, minibatch: Batch, upcoming: Batch | None = None) -> tuple[Batch, Batch]:
        """``take`` and ``offer`` as a training step needs them.

        A buffer that works in the background returns before the minibatch is stored, so its tensors must
        not change until the next exchange. What is returned may lie in the buffer's own memory, the
        representatives right behind the minibatch; it stays as it is until the exchange after the next.

        Args:
            minibatch: What to train now, and to offer.
            upcoming: The next exchange's minibatch where it is known: there is time to place it in memory.

        Returns:
            The minibatch, and the representatives of the last round.
        """
        representatives = self.take()
        self.offer(minibatch)
        return minibatch, representatives

    @abstractmethod
    def fill(self) -> dict[int, int]:
        """Number of representatives in this rank's shard, by class."""

    @abstractmethod
    def content_sha256(self) -> str:
        """Digest of this rank's shard, the same where runs that did the same hold the same."""

    @abstractmethod
    def stats(self) -> dict[str, float]:
        """Counters, sizes in bytes and times in seconds, unit in the key."""

    def background_phases(self) -> dict[str, PhaseTimes]:
        """What this rank's buffer did beside the training steps: ``populate``, ``plan``, ``fetch``, ``copy``."""
        return {}

    def describe(self) -> dict[str, Any]:
        """For provenance: which buffer works, and how; the same on every rank."""
        return {"name": type(self).Config.model_fields["name"].default}

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The whole shard with counters and generators, to be restored exactly."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""

    def close(self) -> None:
        """Release memory and threads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
