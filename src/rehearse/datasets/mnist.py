"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 × 28 grey, 10 classes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from rehearse.core.config import PluginConfig
from rehearse.core.errors import DataError
from rehearse.core.protocols import Progress
from rehearse.core.registry import register
from rehearse.datasets._arrays import ArrayDataset, Decoded, Samples
from rehearse.datasets._sources import Layout

_SPLITS = ("train", "t10k")


@register
class Mnist(ArrayDataset):
    """Mean and deviation are the published ones."""

    Config = PluginConfig
    layout = Layout(
        trees=(tuple(f"{split}-{kind}-ubyte" for split in _SPLITS for kind in ("images-idx3", "labels-idx1")),),
        archives=("mnist*", "MNIST*"),
    )
    mean = (0.1307,)
    std = (0.3081,)
    augmentation = "none"

    @classmethod
    def read(cls, tree: Path, progress: Progress) -> Decoded:
        train, test = (_read(tree, split, progress) for split in _SPLITS)
        return Decoded(train, test, classes=tuple("0123456789"))


def _read(tree: Path, split: str, progress: Progress) -> Samples:
    from rehearse.core.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from torchvision.datasets.mnist import read_image_file, read_label_file

    paths = tree / f"{split}-images-idx3-ubyte", tree / f"{split}-labels-idx1-ubyte"
    try:
        images, labels = read_image_file(str(paths[0])).numpy(), read_label_file(str(paths[1])).numpy()
    except (ValueError, AssertionError, RuntimeError, TypeError, KeyError, struct.error) as error:
        raise DataError(f"{paths[0]}, {paths[1].name}: damaged ({error or type(error).__name__})") from None
    if images.shape[1:] != (28, 28):
        raise DataError(f"{paths[0]}: images of {images.shape[1:]} pixels, expected 28 × 28")
    progress(f"read {split}", len(labels), len(labels))
    return Samples(images[:, np.newaxis], labels)
