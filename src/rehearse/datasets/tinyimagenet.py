"""Tiny ImageNet: 200 classes, 100,000 training images, 64 × 64 colour.

The labels of the official test images are not public, so the 10,000 validation images are the test
set. Classes are sorted by WordNet id. A cut of the official tree with fewer classes is accepted.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from rehearse.core.config import PluginConfig
from rehearse.core.errors import DataError
from rehearse.core.protocols import Progress
from rehearse.core.registry import register
from rehearse.datasets._arrays import ArrayDataset, Decoded, Samples
from rehearse.datasets._decode import list_images, read_pixels, subfolders
from rehearse.datasets._photo_index import Labelled
from rehearse.datasets._sources import Layout
from rehearse.datasets._threads import map_in_threads

_SIZE = (64, 64)


@register
class TinyImageNet(ArrayDataset):
    """Mean and deviation are the published ones of the full training set."""

    Config = PluginConfig
    layout = Layout(trees=(("train/n*/images", "val/val_annotations.txt"),), archives=("tiny-imagenet*",))
    mean = (0.4802, 0.4481, 0.3975)
    std = (0.2770, 0.2691, 0.2821)
    augmentation = "crop_flip"

    @classmethod
    def read(cls, tree: Path, progress: Progress) -> Decoded:
        classes = subfolders(tree / "train")
        return Decoded(
            train=_read(list_images(tree / "train", classes), progress, "read training images"),
            test=_read(_validation(tree / "val", classes), progress, "read validation images"),
            classes=tuple(classes),
        )


def _validation(folder: Path, classes: list[str]) -> Labelled:
    """Validation images, from lines ``file<TAB>class<TAB>box``."""
    path = folder / "val_annotations.txt"
    labels = {name: label for label, name in enumerate(classes)}
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    wrong = [number for number, row in enumerate(rows, 1) if len(row) < 2 or row[1] not in labels]
    if wrong:
        raise DataError(f"{path}:{wrong[0]}: names no class of the training images")
    return [(folder / "images" / row[0], labels[row[1]]) for row in rows]


def _read(labelled: Labelled, progress: Progress, what: str) -> Samples:
    read = functools.partial(read_pixels, size=_SIZE)
    images = np.empty((len(labelled), 3, *_SIZE[::-1]), dtype=np.uint8)
    for row, pixels in enumerate(map_in_threads(read, [path for path, _ in labelled], progress, what)):
        images[row] = pixels
    return Samples(images, np.array([label for _, label in labelled], dtype=np.int64))
