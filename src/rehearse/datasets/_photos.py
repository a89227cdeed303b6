"""Datasets of photos of many sizes: files in class folders, decoded and cropped when they are fetched."""

from __future__ import annotations

import json
import os
import shutil
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from rehearse.core.config import Float, PluginConfig
from rehearse.core.errors import DataError
from rehearse.core.protocols import Dataset, DatasetInfo, Origin, Progress
from rehearse.core.staging import CLASSES
from rehearse.datasets._crop import central_box, random_box
from rehearse.datasets._decode import open_image
from rehearse.datasets._photo_index import Listing, Statistics, read_files, read_statistics, write_index
from rehearse.datasets._sources import Found, Layout, find

# Published with every network that torchvision and timm trained on ImageNet.
IMAGENET_STATISTICS = Statistics(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class PhotoConfig(PluginConfig):
    """How photos become samples of one size."""

    image_size: int = Field(default=224, ge=8, description="Height and width of a sample, in pixels.")
    resize: int | None = Field(
        default=None,
        ge=8,
        description="Shorter side to which an evaluation image is resized before its centre is cut out, in pixels; "
        "default 8/7 of image_size, 256 for 224.",
    )
    crop_scale: tuple[Float, Float] = Field(
        default=(0.1, 1.0), description="Smallest and largest share of the area that a training crop takes."
    )
    crop_aspect: tuple[Float, Float] = Field(
        default=(0.8, 1.25), description="Smallest and largest width / height of a training crop."
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ValueError(f"crop_scale must ascend within 0–1, got {list(self.crop_scale)}")
        if not 0 < self.crop_aspect[0] <= self.crop_aspect[1]:
            raise ValueError(f"crop_aspect must be positive and ascend, got {list(self.crop_aspect)}")
        if self.resize is not None and self.resize < self.image_size:
            raise ValueError(f"resize must be at least image_size ({self.image_size}), got {self.resize}")
        return self

    @property
    def central_share(self) -> float:
        """Share of the shorter side that an evaluation image keeps, 0–1."""
        return 7 / 8 if self.resize is None else self.image_size / self.resize


class PhotoSplit:
    """Files and labels; every fetch decodes them anew."""

    def __init__(self, root: Path, name: str, config: PhotoConfig) -> None:
        self._root, self._config = root, config
        # Bytes in an array: a million str objects would be copied into each worker by reference counting.
        self._paths, self.labels = read_files(root, name)

    def fetch(self, indices: Sequence[int], seed: int | None) -> NDArray[Any]:
        """Samples at ``indices``, ``(n, 3, S, S)`` uint8.

        With a seed, a random crop that depends on (seed, index) alone; without, the central one.

        Raises:
            DataError: An image cannot be read; names the file.
        """
        size = self._config.image_size
        samples = np.empty((len(indices), 3, size, size), dtype=np.uint8)
        for row, index in enumerate(indices):
            image = open_image(self._root / os.fsdecode(self._paths[index]), "RGB")
            if seed is None:
                box = central_box(*image.size, self._config.central_share)
            else:
                rng = np.random.default_rng((seed, int(index)))
                box = random_box(*image.size, self._config.crop_scale, self._config.crop_aspect, rng)
            square = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
            samples[row] = np.asarray(square).transpose(2, 0, 1)
        return samples


class PhotoDataset(Dataset):
    """Base of the datasets in this form; a subclass says which folders it uses and how they are split.

    Attributes:
        layout: How the official files are recognised.
        num_classes: Classes that the official set has; None accepts any number.
        statistics: Published statistics; None computes them while staging.
    """

    Config = PhotoConfig
    layout: ClassVar[Layout]
    num_classes: ClassVar[int | None] = None
    statistics: ClassVar[Statistics | None] = None

    @classmethod
    @abstractmethod
    def folders(cls, tree: Path) -> tuple[str, ...]:
        """Names of the folders of ``tree`` that hold the images."""

    @classmethod
    @abstractmethod
    def list_files(cls, root: Path) -> Listing:
        """Classes, training and test files of a staged folder.

        Raises:
            DataError: Classes are missing or empty.
        """

    @classmethod
    def stage(cls, config: PluginConfig, root: Path, source: Path | None, progress: Progress) -> Origin:
        """See `Dataset.stage`; an unpacked tree is used where it lies, through a link."""
        scratch = root / "unpacked"
        found = find(config.name, cls.layout, scratch, source, progress)
        for name in cls.folders(found.tree):
            _place(found, name, root)
        shutil.rmtree(scratch, ignore_errors=True)
        listing = cls.list_files(root)
        if cls.num_classes is not None and len(listing.classes) != cls.num_classes:
            raise DataError(
                f"{source}: {len(listing.classes)} classes, but {config.name!r} has {cls.num_classes}; "
                "a tree with other classes is staged as 'image_folder'"
            )
        write_index(root, listing, cls.statistics, progress)
        return found.origin

    def __init__(self, config: PluginConfig, root: Path) -> None:
        self._config = cast(PhotoConfig, config)
        self._root = root
        statistics = read_statistics(root)
        self.info = DatasetInfo(
            num_classes=len(json.loads((root / CLASSES).read_text(encoding="utf-8"))),
            input_shape=(3, self._config.image_size, self._config.image_size),
            mean=statistics.mean,
            std=statistics.std,
            augmentation="flip",
        )

    def split(self, train: bool) -> PhotoSplit:
        return PhotoSplit(self._root, "train" if train else "test", self._config)


def _place(found: Found, name: str, root: Path) -> None:
    if found.temporary:
        (found.tree / name).rename(root / name)
    else:
        (root / name).symlink_to((found.tree / name).resolve(), target_is_directory=True)
