"""Datasets whose samples have one size: decoded once while staging, then mapped into memory.

Ranks of a node share the pages, and a minibatch is one gather.
"""

from __future__ import annotations

import json
import shutil
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rehearse.core.config import PluginConfig
from rehearse.core.errors import DataError
from rehearse.core.protocols import Dataset, DatasetInfo, Origin, Progress
from rehearse.core.staging import CLASSES
from rehearse.datasets._sources import Layout, find


@dataclass(frozen=True, slots=True)
class Samples:
    """Decoded samples.

    Attributes:
        images: ``(n, C, H, W)`` uint8.
        labels: ``(n,)`` int64.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decoded:
    """Everything that a staging reads from a dataset's own files."""

    train: Samples
    test: Samples
    classes: tuple[str, ...]


class ArraySplit:
    """Samples in a memory-mapped ``.npy`` file; workers that are sent a copy open the file again."""

    def __init__(self, root: Path, name: str) -> None:
        self._root, self._name = root, name
        self.labels: NDArray[np.int64] = _load(root / f"{name}_labels.npy")
        self._images: NDArray[np.uint8] = _load(root / f"{name}_images.npy", mapped=True)
        if len(self.labels) != len(self._images):
            raise DataError(f"{root}: {len(self._images)} {name} images, but {len(self.labels)} labels")

    def fetch(self, indices: Sequence[int], seed: int | None) -> NDArray[Any]:
        """Samples at ``indices``, ``(n, C, H, W)`` uint8; ``seed`` has no effect, nothing here is random."""
        return self._images[np.asarray(indices, dtype=np.int64)]

    def __reduce__(self) -> tuple[type[ArraySplit], tuple[Path, str]]:
        return ArraySplit, (self._root, self._name)


class ArrayDataset(Dataset):
    """Base of the datasets in this form; a subclass says how the official files are read.

    Attributes:
        layout: How the official files are recognised.
        mean: Per channel, of inputs scaled to 0–1.
        std: Per channel, of inputs scaled to 0–1.
        augmentation: What the device does to training inputs.
    """

    layout: ClassVar[Layout]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    augmentation: ClassVar[Literal["none", "flip", "crop_flip"]]

    @classmethod
    @abstractmethod
    def read(cls, tree: Path, progress: Progress) -> Decoded:
        """Decode the official files below ``tree``.

        Raises:
            DataError: A file is damaged; names it.
        """

    @classmethod
    def stage(cls, config: PluginConfig, root: Path, source: Path | None, progress: Progress) -> Origin:
        scratch = root / "unpacked"
        found = find(config.name, cls.layout, scratch, source, progress)
        save(cls.read(found.tree, progress), root)
        shutil.rmtree(scratch, ignore_errors=True)
        return found.origin

    def __init__(self, config: PluginConfig, root: Path) -> None:
        self._root = root
        classes = json.loads((root / CLASSES).read_text(encoding="utf-8"))
        shape = _load(root / "train_images.npy", mapped=True).shape
        self.info = DatasetInfo(
            num_classes=len(classes),
            input_shape=tuple(int(size) for size in shape[1:]),
            mean=self.mean,
            std=self.std,
            augmentation=self.augmentation,
        )

    def split(self, train: bool) -> ArraySplit:
        return ArraySplit(self._root, "train" if train else "test")


def save(decoded: Decoded, root: Path) -> None:
    """Write decoded samples in the form that `ArrayDataset` opens.

    Raises:
        DataError: A split is empty, or a label names no class.
    """
    for name, samples in (("train", decoded.train), ("test", decoded.test)):
        if not len(samples.labels) or len(samples.labels) != len(samples.images):
            raise DataError(f"{name} set: {len(samples.images)} images and {len(samples.labels)} labels")
        if samples.labels.min() < 0 or samples.labels.max() >= len(decoded.classes):
            raise DataError(
                f"{name} set: labels {samples.labels.min()}–{samples.labels.max()} for {len(decoded.classes)} classes"
            )
        np.save(root / f"{name}_images.npy", np.ascontiguousarray(samples.images))
        np.save(root / f"{name}_labels.npy", samples.labels.astype(np.int64))
    (root / CLASSES).write_text(json.dumps(decoded.classes, indent=0) + "\n", encoding="utf-8")


def _load(path: Path, mapped: bool = False) -> Any:
    try:
        # asarray strips the memmap class, whose gathers would be memmaps too.
        return np.asarray(np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); stage the dataset again") from None
