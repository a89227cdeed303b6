"""What plug-ins promise. Each class here is the contract of one room; a plug-in is a subclass in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from rehearse.core.config import PluginConfig

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from rehearse.core.batch import Batch
    from rehearse.core.experiment import Regime
    from rehearse.core.rehearsal import BufferConfig
    from rehearse.core.world import World

ReduceOp = Literal["mean", "sum", "min", "max"]


class DistributedOptimizer(Protocol):
    """An optimiser whose gradients are averaged over ranks before it steps."""

    param_groups: list[dict[str, Any]]

    def synchronize(self) -> None:
        """Wait until every gradient is the mean over ranks."""

    def accumulate(self) -> AbstractContextManager[None]:
        """Backward passes inside add to the gradients; the pass that ends the step comes after."""

    def step(self) -> None:
        """Update the parameters with the averaged gradients."""

    def zero_grad(self) -> None:
        """Forget the gradients."""

    def reset_state(self) -> None:
        """Forget momentum and every other state, as a new optimiser would."""

    def state_dict(self) -> dict[str, Any]:
        """State of the wrapped optimiser."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of the wrapped optimiser."""


class Communicator(ABC):
    """How ranks talk. Every method is collective: all ranks call it in the same order.

    A lost peer raises CommunicationError, within seconds, on every surviving rank.
    """

    Config: ClassVar[type[PluginConfig]]
    world: World

    @abstractmethod
    def __init__(self, config: PluginConfig, world: World) -> None:
        """Join the other ranks.

        Raises:
            MissingDependencyError: The library behind it is not installed.
            CommunicationError: The other ranks do not answer.
        """

    @abstractmethod
    def allreduce(self, tensor: Tensor, op: ReduceOp = "mean") -> Tensor:
        """Reduce over ranks; a new tensor, bit-identical on all ranks, same shape and dtype."""

    @abstractmethod
    def broadcast(self, tensor: Tensor, root: int = 0) -> None:
        """Overwrite the tensor in place with the root's."""

    @abstractmethod
    def gather_objects(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order, on every rank."""

    @abstractmethod
    def gather_rows(self, rows: Tensor) -> list[Tensor]:
        """Every rank's rows, in rank order, on every rank; first dimensions may differ, 0 included."""

    @abstractmethod
    def barrier(self) -> None:
        """Wait for all ranks."""

    @abstractmethod
    def wrap_optimizer(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> DistributedOptimizer:
        """Average gradients over ranks while the backward pass runs."""

    @abstractmethod
    def abort(self, exit_code: int) -> None:
        """End this process at once, so that no peer waits for it; the launcher ends the others."""

    @abstractmethod
    def close(self) -> None:
        """Leave the group in order."""


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What the rest of a run must know of a dataset.

    Attributes:
        num_classes: Width of the classifier's head.
        input_shape: Shape of one sample as stored, ``(C, H, W)``.
        input_dtype: NumPy name of the stored dtype, such as ``uint8``.
        mean: Per channel, of inputs scaled to 0–1.
        std: Per channel, of inputs scaled to 0–1.
        augmentation: What the device does to training inputs.
    """

    num_classes: int
    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_dtype: str = "uint8"
    augmentation: Literal["none", "flip", "crop_flip"] = "none"


class Split(Protocol):
    """The training or the test samples of a dataset."""

    labels: NDArray[np.int64]

    def fetch(self, indices: Sequence[int], seed: int | None) -> NDArray[Any]:
        """Samples at ``indices`` as ``(n, C, H, W)`` in the stored dtype.

        Args:
            indices: Positions in the split; may be empty.
            seed: Seeds random crops of file-based training sets; None takes the evaluation crop.

        Raises:
            DataError: A sample cannot be read; names the file.
        """


Progress = Callable[[str, int, int | None], None]
"""Called with (what, bytes or items done, all of them or None)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where staged files came from.

    Attributes:
        source: Addresses, or kind and name of what the user had.
        verified: Whether official checksums covered the whole source.
    """

    source: str
    verified: bool


class Dataset(ABC):
    """Where samples come from."""

    Config: ClassVar[type[PluginConfig]]

    @classmethod
    @abstractmethod
    def stage(cls, config: PluginConfig, root: Path, source: Path | None, progress: Progress) -> Origin:
        """Put the verified files of the dataset into the empty folder ``root``.

        Args:
            config: The plug-in's options.
            root: Folder that the caller renames to its final place afterwards.
            source: Folder or archive that the user already has; None downloads.
            progress: Called while files arrive.

        Raises:
            DataError: No network, wrong checksum, missing folder or unreadable image; says how to go on.
        """

    @abstractmethod
    def __init__(self, config: PluginConfig, root: Path) -> None:
        """Open staged files below ``root``."""

    info: DatasetInfo

    @abstractmethod
    def split(self, train: bool) -> Split:
        """The training or the test samples."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task of the stream.

    Attributes:
        id: Position in the stream, from 0.
        train: Positions of its training samples, ``(n,)`` int64.
        test: Positions of its test samples, ``(n,)`` int64.
        classes: Class labels that appear in it, after the scenario's renumbering.
    """

    id: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    classes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """A dataset as tasks.

    Attributes:
        tasks: In order of training.
        class_map: ``class_map[original label]`` is the label used in training, int64.
    """

    tasks: tuple[TaskSpec, ...]
    class_map: NDArray[np.int64]


class Scenario(ABC):
    """How a dataset becomes a stream of tasks."""

    Config: ClassVar[type[PluginConfig]]

    @abstractmethod
    def __init__(self, config: PluginConfig) -> None:
        """Keep the options."""

    @abstractmethod
    def split(
        self, train_labels: NDArray[np.int64], test_labels: NDArray[np.int64], num_classes: int, seed: int
    ) -> Stream:
        """Divide the samples among tasks.

        Raises:
            DataError: A task would be empty.
        """


class Loader(ABC):
    """How samples reach a rank: minibatches of stored samples, on the host."""

    Config: ClassVar[type[PluginConfig]]

    @abstractmethod
    def __init__(self, config: PluginConfig, split: Split, labels: NDArray[np.int64]) -> None:
        """Keep the split; ``labels`` are its labels after the scenario's renumbering."""

    @abstractmethod
    def minibatches(self, steps: Sequence[NDArray[np.int64]], seed: int | None) -> Iterator[LoadedMinibatch]:
        """Yield one minibatch per entry of ``steps``, in order, those of no samples included.

        Args:
            steps: This rank's positions for each step.
            seed: Seeds random crops; None for evaluation.
        """

    def close(self) -> None:
        """Stop background workers."""


@dataclass(frozen=True, slots=True)
class LoadedMinibatch:
    """What a loader yields: host tensors with n rows.

    Attributes:
        inputs: ``(n, C, H, W)`` in the stored dtype.
        labels: ``(n,)`` int64.
        indices: ``(n,)`` int64 positions in the split.
    """

    inputs: Tensor
    labels: Tensor
    indices: Tensor
    targets: dict[str, Tensor] = field(default_factory=dict)


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

    @abstractmethod
    def loss(self, minibatch: Batch, representatives: Batch) -> Tensor:
        """This rank's share of the loss, a scalar; build it with ``Batch.mean``.

        Args:
            minibatch: b samples of the current task, normalised, on the device.
            representatives: r samples drawn in the previous round; of length 0 before the first.
        """

    def adjust_gradients(self) -> None:
        """Change the gradients after they were averaged over ranks and before the optimiser steps."""

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
    """

    fields: Mapping[str, RecordField]
    num_classes: int
    budget: int
    seed: int


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

    @abstractmethod
    def fill(self) -> dict[int, int]:
        """Number of representatives in this rank's shard, by class."""

    @abstractmethod
    def stats(self) -> dict[str, float]:
        """Counters, sizes in bytes and times in seconds, unit in the key."""

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
