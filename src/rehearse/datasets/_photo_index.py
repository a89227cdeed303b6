"""The list of a photo dataset's files, made once while staging: opening it later reads no folders."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageStat

from rehearse.core.errors import DataError
from rehearse.core.protocols import Progress
from rehearse.core.staging import CLASSES
from rehearse.datasets._decode import open_image
from rehearse.datasets._threads import map_in_threads

_STATISTICS = "statistics.json"
# A channel that never varies needs some divisor; one grey level changes nothing.
_SMALLEST_STD = 1 / 255

Labelled = list[tuple[Path, int]]
"""Path and label of each file."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Mean and standard deviation per channel of pixels scaled to 0–1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Files of a photo dataset, by their paths below the staged folder."""

    classes: tuple[str, ...]
    train: Labelled
    test: Labelled


def write_index(root: Path, listing: Listing, known: Statistics | None, progress: Progress) -> None:
    """Decode every image once and write the index.

    Args:
        root: The staged folder.
        listing: Its files.
        known: Published statistics; None computes those of the training images, each image counting alike.
        progress: Called with images.

    Raises:
        DataError: An image cannot be read, or a split is empty.
    """
    for name, labelled in (("train", listing.train), ("test", listing.test)):
        if not labelled:
            raise DataError(f"the {name} set has no images")
        lines = [f"{label}\t{path.as_posix()}" for path, label in labelled]
        if any("\n" in line for line in lines):
            raise DataError(f"the {name} set has a file name with a line break; rename it")
        (root / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    moments = _moments(root, [path for path, _ in listing.train], progress, "check training images")
    _moments(root, [path for path, _ in listing.test], progress, "check test images")
    statistics = known or _statistics(moments)
    (root / _STATISTICS).write_text(json.dumps({"mean": statistics.mean, "std": statistics.std}) + "\n")
    (root / CLASSES).write_text(json.dumps(listing.classes, indent=0) + "\n", encoding="utf-8")


def read_files(root: Path, name: str) -> tuple[NDArray[np.bytes_], NDArray[np.int64]]:
    """Paths (bytes, below ``root``) and labels of a split.

    Raises:
        DataError: The index is damaged.
    """
    path = root / f"{name}.tsv"
    try:
        rows = [line.split(b"\t", 1) for line in path.read_bytes().splitlines()]
        return np.array([row[1] for row in rows]), np.array([int(row[0]) for row in rows], dtype=np.int64)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path}: cannot be read ({error}); stage the dataset again") from None


def read_statistics(root: Path) -> Statistics:
    """Statistics of a staged photo dataset.

    Raises:
        DataError: The index is damaged.
    """
    path = root / _STATISTICS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Statistics(mean=tuple(found["mean"]), std=tuple(found["std"]))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: cannot be read ({error}); stage the dataset again") from None


def _moments(root: Path, paths: Sequence[Path], progress: Progress, what: str) -> NDArray[np.float64]:
    """Mean over images of (mean, mean of squares) per channel, ``(2, 3)``, of pixels in 0–255."""
    total = np.zeros((2, 3))
    for moments in map_in_threads(functools.partial(_image_moments, root), paths, progress, what):
        total += moments
    return total / len(paths)


def _image_moments(root: Path, path: Path) -> NDArray[np.float64]:
    found = ImageStat.Stat(open_image(root / path, "RGB"))
    moments: NDArray[np.float64] = np.array([found.sum, found.sum2]) / np.array(found.count)
    return moments


def _statistics(moments: NDArray[np.float64]) -> Statistics:
    mean, mean_of_squares = moments[0] / 255, moments[1] / 255**2
    std = np.sqrt(np.maximum(mean_of_squares - mean**2, _SMALLEST_STD**2))
    return Statistics(mean=tuple(mean.round(4).tolist()), std=tuple(std.round(4).tolist()))
