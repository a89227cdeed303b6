"""What the rooms of data promise: datasets, scenarios, loaders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from rehearse.core.config import PluginConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


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
