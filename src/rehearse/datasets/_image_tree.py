"""Photo datasets laid out as ``train/<class>/*`` and ``val/<class>/*`` or ``test/<class>/*``."""

from __future__ import annotations

from pathlib import Path

from rehearse.core.errors import DataError
from rehearse.datasets._decode import list_images, subfolders
from rehearse.datasets._photo_index import Labelled, Listing
from rehearse.datasets._photos import PhotoDataset
from rehearse.datasets._sources import Layout

LAYOUT = Layout(trees=(("train/*/", "val/*/"), ("train/*/", "test/*/")))


class ImageTreeDataset(PhotoDataset):
    """Base of the datasets in this layout; ``val`` is preferred to ``test``, whose labels are often unknown."""

    layout = LAYOUT

    @classmethod
    def folders(cls, tree: Path) -> tuple[str, ...]:
        return "train", "val" if (tree / "val").is_dir() else "test"

    @classmethod
    def list_files(cls, root: Path) -> Listing:
        held_out = root / cls.folders(root)[1]
        classes = subfolders(root / "train")
        unknown = sorted(set(subfolders(held_out)) - set(classes))
        if unknown:
            raise DataError(f"{held_out.name} has classes that train has not: {', '.join(unknown[:5])}")
        missing = sorted(set(classes) - set(subfolders(held_out)))
        if missing:
            raise DataError(f"{held_out.name} lacks {len(missing)} classes of train: {', '.join(missing[:5])}")
        return Listing(
            classes=tuple(classes),
            train=_below(root, list_images(root / "train", classes)),
            test=_below(root, list_images(held_out, classes)),
        )


def _below(root: Path, labelled: Labelled) -> Labelled:
    return [(path.relative_to(root), label) for path, label in labelled]
