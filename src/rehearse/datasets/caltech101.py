"""Caltech 101: 8,677 photos of 101 classes, about 300 × 200 pixels.

The folder of background pictures is no class. There is no official division; one fifth of each
class, chosen once and for all, is the test set.
"""

from __future__ import annotations

from pathlib import Path

from rehearse.core.registry import register
from rehearse.datasets._decode import list_images, subfolders
from rehearse.datasets._holdout import held_out_mask
from rehearse.datasets._photo_index import Listing
from rehearse.datasets._photos import PhotoDataset
from rehearse.datasets._sources import Layout

_FOLDER = "101_ObjectCategories"
_NO_CLASS = "BACKGROUND_Google"


@register
class Caltech101(PhotoDataset):
    """Mean and deviation are computed from the training photos while staging."""

    layout = Layout(trees=((_FOLDER,),), archives=("caltech*101*", f"{_FOLDER}*"))

    @classmethod
    def folders(cls, tree: Path) -> tuple[str, ...]:
        return (_FOLDER,)

    @classmethod
    def list_files(cls, root: Path) -> Listing:
        classes = [name for name in subfolders(root / _FOLDER) if name != _NO_CLASS]
        photos = [(path.relative_to(root), label) for path, label in list_images(root / _FOLDER, classes)]
        test = held_out_mask([path.as_posix() for path, _ in photos], [label for _, label in photos])
        return Listing(
            classes=tuple(classes),
            train=[photo for photo, held_out in zip(photos, test, strict=True) if not held_out],
            test=[photo for photo, held_out in zip(photos, test, strict=True) if held_out],
        )
