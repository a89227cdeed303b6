"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people, 28 × 28 grey.

Every character is a class: the 964 of the background alphabets first, then the 659 of the
evaluation alphabets, sorted by path. The drawings 01–15 of each are training samples, 16–20 test
samples. The strokes are scaled from 105 × 105 pixels by averaging areas, and are bright on black,
as in MNIST.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from rehearse.core.config import PluginConfig
from rehearse.core.errors import DataError
from rehearse.core.protocols import Progress
from rehearse.core.registry import register
from rehearse.datasets._arrays import ArrayDataset, Decoded, Samples
from rehearse.datasets._decode import list_images, open_image, subfolders
from rehearse.datasets._sources import Layout
from rehearse.datasets._threads import map_in_threads

_SETS = ("images_background", "images_evaluation")
_SIDE = 28
_TRAIN_DRAWINGS = 15


@register
class Omniglot(ArrayDataset):
    """Mean and deviation are those of all training samples."""

    Config = PluginConfig
    layout = Layout(trees=(_SETS,), archives=("omniglot*",))
    mean = (0.0807,)
    std = (0.2368,)
    augmentation = "none"

    @classmethod
    def read(cls, tree: Path, progress: Progress) -> Decoded:
        classes = [
            f"{part}/{alphabet}/{character}"
            for part in _SETS
            for alphabet in subfolders(tree / part)
            for character in subfolders(tree / part / alphabet)
        ]
        found = list_images(tree, classes)
        paths, labels = [path for path, _ in found], np.array([label for _, label in found], dtype=np.int64)
        images = np.stack(list(map_in_threads(_read_drawing, paths, progress, "read drawings")))[:, np.newaxis]
        train = np.array([_drawing(path) <= _TRAIN_DRAWINGS for path in paths])
        return Decoded(
            train=Samples(images[train], labels[train]),
            test=Samples(images[~train], labels[~train]),
            classes=tuple(name.partition("/")[2] for name in classes),
        )


def _read_drawing(path: Path) -> NDArray[np.uint8]:
    drawing = open_image(path, "L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(ImageOps.invert(drawing))


def _drawing(path: Path) -> int:
    """``0709_17.png`` → 17."""
    try:
        return int(path.stem.rpartition("_")[2])
    except ValueError:
        raise DataError(f"{path}: not the name of a drawing, such as 0709_17.png") from None
