"""Image files: which there are, and their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rehearse.core.errors import DataError


def open_image(path: str | Path, mode: str) -> Image.Image:
    """Decode an image in full and convert it to a mode such as ``RGB`` or ``L``.

    Raises:
        DataError: It cannot be opened or is damaged; names the file.
    """
    try:
        with Image.open(path) as image:
            return image.convert(mode)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow reports a broken PNG as a SyntaxError.
        raise DataError(f"{path}: unreadable image ({error}); replace or delete it") from None


def read_pixels(path: str | Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode an image that must have a size.

    Args:
        path: The file.
        size: Width and height, in pixels.

    Returns:
        ``(3, H, W)`` uint8.

    Raises:
        DataError: Unreadable, or of another size.
    """
    image = open_image(path, "RGB")
    if image.size != size:
        raise DataError(f"{path}: {image.width} × {image.height} pixels, expected {size[0]} × {size[1]}")
    return np.asarray(image).transpose(2, 0, 1)


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, hidden ones left out."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def list_images(folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """Image files below class folders, sorted by class and path, hidden ones left out.

    Args:
        folder: Holds the class folders.
        classes: Their paths below ``folder``, by label.

    Returns:
        Path and label of each image.

    Raises:
        DataError: A class has no image.
    """
    from rehearse.core.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from torchvision.datasets.folder import is_image_file, make_dataset

    def is_wanted(path: str) -> bool:
        return is_image_file(path) and not Path(path).name.startswith(".")

    labels = {name: label for label, name in enumerate(classes)}
    try:
        found = make_dataset(str(folder), labels, is_valid_file=is_wanted)
    except FileNotFoundError as error:
        raise DataError(f"{folder}: {error}") from None
    return [(Path(path), label) for path, label in found]
