"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images, 32 × 32 colour."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rehearse.core.config import PluginConfig
from rehearse.core.errors import DataError
from rehearse.core.protocols import Progress
from rehearse.datasets._arrays import ArrayDataset, Decoded, Samples
from rehearse.datasets._decode import open_image
from rehearse.datasets._threads import map_in_threads

_SIDE = 32


class CifarDataset(ArrayDataset):
    """Base of both.

    Two layouts are read. The official pickles must have their official md5 (torchvision checks it
    before it unpickles anything). The other is images: ``{train,test}/<class>/*`` of 32 × 32 pixels,
    or ``{train,test}/<class>.<ext>`` with the images of a class one below the other; its classes are
    sorted by name, as the official labels are.

    Attributes:
        num_classes: Classes of the set.
        pickles: Folder of the official files.
    """

    Config = PluginConfig
    augmentation = "crop_flip"
    num_classes: ClassVar[int]
    pickles: ClassVar[str]

    @classmethod
    @abstractmethod
    def reader(cls) -> Any:
        """Torchvision's reader of the official files."""

    @classmethod
    def read(cls, tree: Path, progress: Progress) -> Decoded:
        return cls._read_pickles(tree, progress) if (tree / cls.pickles).is_dir() else cls._read_images(tree, progress)

    @classmethod
    def _read_pickles(cls, tree: Path, progress: Progress) -> Decoded:
        from rehearse.core.torchvision_shim import ensure_torchvision

        ensure_torchvision()
        reader, parts = cls.reader(), []
        for done, train in enumerate((True, False), 1):
            try:
                parts.append(reader(str(tree), train=train))
            except RuntimeError as error:
                raise DataError(
                    f"{tree / cls.pickles}: files are missing or do not have their official md5 ({error})"
                ) from None
            progress(f"read {cls.pickles}", done, 2)
        samples = [Samples(p.data.transpose(0, 3, 1, 2), np.array(p.targets, dtype=np.int64)) for p in parts]
        return Decoded(samples[0], samples[1], classes=tuple(parts[0].classes))

    @classmethod
    def _read_images(cls, tree: Path, progress: Progress) -> Decoded:
        classes = _classes(tree / "train")
        if len(classes) != cls.num_classes or _classes(tree / "test") != classes:
            raise DataError(
                f"{tree}: {len(classes)} training and {len(_classes(tree / 'test'))} test classes, "
                f"expected the same {cls.num_classes}"
            )
        train, test = (_read_class_files(tree / part, classes, progress) for part in ("train", "test"))
        return Decoded(train, test, classes=classes)


def _classes(folder: Path) -> tuple[str, ...]:
    return tuple(sorted({path.stem for path in folder.iterdir() if not path.name.startswith(".")}))


def _read_class_files(folder: Path, classes: tuple[str, ...], progress: Progress) -> Samples:
    labels = {name: label for label, name in enumerate(classes)}
    paths = sorted(
        path
        for child in folder.iterdir()
        if not child.name.startswith(".")
        for path in (child.iterdir() if child.is_dir() else (child,))
    )
    stacks = list(map_in_threads(_read_stack, paths, progress, f"read {folder.name} images"))
    owners = [path.stem if path.parent == folder else path.parent.name for path in paths]
    return Samples(
        images=np.concatenate(stacks),
        labels=np.repeat([labels[owner] for owner in owners], [len(stack) for stack in stacks]).astype(np.int64),
    )


def _read_stack(path: Path) -> NDArray[np.uint8]:
    image = open_image(path, "RGB")
    if image.width != _SIDE or image.height % _SIDE:
        raise DataError(f"{path}: {image.width} × {image.height} pixels, expected {_SIDE} × a multiple of {_SIDE}")
    return np.asarray(image).reshape(-1, _SIDE, _SIDE, 3).transpose(0, 3, 1, 2)
