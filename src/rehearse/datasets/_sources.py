"""Finds a dataset's files: official archives, another archive or an unpacked tree, from the network or the user."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rehearse.core.catalogue import Archive, Entry, entry
from rehearse.core.errors import DataError
from rehearse.core.protocols import Origin, Progress
from rehearse.datasets._archives import is_archive, unpack
from rehearse.datasets._checksum import check_archive
from rehearse.datasets._download import download

DOWNLOADS = ".downloads"


@dataclass(frozen=True, slots=True)
class Layout:
    """How files of a dataset are recognised.

    Attributes:
        trees: Alternatives; a folder is a tree of the dataset if every pattern of one of them exists in it.
        archives: File name patterns of archives, official or not, that may hold such a tree.
    """

    trees: tuple[tuple[str, ...], ...]
    archives: tuple[str, ...] = ()

    def describe(self) -> str:
        """What is looked for, in words."""
        return " or ".join(" + ".join(tree) for tree in self.trees)


@dataclass(frozen=True, slots=True)
class Found:
    """A tree of the dataset, ready to be read.

    Attributes:
        tree: Folder in which the layout's patterns exist.
        temporary: Whether the tree was unpacked for this staging and may be moved.
        origin: Where it came from.
    """

    tree: Path
    temporary: bool
    origin: Origin


def find(name: str, layout: Layout, scratch: Path, source: Path | None, progress: Progress) -> Found:
    """Bring a dataset's files together.

    Args:
        name: Of the dataset.
        layout: How its files look.
        scratch: Empty folder for what must be unpacked, in ``<dataset_dir>/<name>/<temporary>``.
        source: What the user has; None downloads.
        progress: Called while files are read.

    Raises:
        DataError: Nothing usable there, a wrong checksum, a damaged archive, no network.
    """
    known = entry(name)
    if source is None:
        return _download_all(known, layout, scratch, progress)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; --source names the files of {name!r} that you have")
    if source.is_file():
        return _from_archives(known, layout, scratch, [source], progress)
    official = [path for archive in known.archives if (path := _find_file(source, archive.file)) is not None]
    if official and len(official) == len(known.archives):
        return _from_archives(known, layout, scratch, official, progress)
    tree = _find_tree(source, layout)
    if tree is not None:
        return Found(tree, temporary=False, origin=Origin(f"folder {tree.name}", verified=False))
    others = _find_archives(source, layout)
    if len(others) == 1:
        return _from_archives(known, layout, scratch, others, progress)
    raise DataError(_nothing_found(known, layout, source, official, others))


def _download_all(known: Entry, layout: Layout, scratch: Path, progress: Progress) -> Found:
    if not known.archives:
        raise DataError(
            f"dataset {known.name!r} cannot be downloaded ({known.licence}); "
            f"get it{' from ' + known.address if known.address else ''} and give the folder: --source FOLDER "
            f"with {layout.describe()}"
        )
    downloads = scratch.parent.parent / DOWNLOADS
    downloads.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(downloads).free
    if free < known.num_bytes:
        raise DataError(
            f"{downloads}: {known.num_bytes / 1e6:.0f} MB are needed for the download of {known.name!r}, "
            f"{free / 1e6:.0f} MB are free; free some space or choose another --dataset-dir"
        )
    # Checked as they arrive, so only unpacked here.
    paths = [download(archive, downloads, progress) for archive in known.archives]
    tree = _unpack_all(layout, scratch, paths, progress)
    addresses = ", ".join(archive.urls[0] for archive in known.archives)
    return Found(tree, temporary=True, origin=Origin(addresses, verified=True))


def _from_archives(known: Entry, layout: Layout, scratch: Path, paths: list[Path], progress: Progress) -> Found:
    official: dict[str, Archive] = {archive.file: archive for archive in known.archives}
    for path in paths:
        if path.name in official:
            check_archive(path, official[path.name], progress)
        elif not is_archive(path):
            raise DataError(f"{path}: not an archive that can be unpacked (.zip, .tar, .tar.gz, .tar.xz, .gz)")
    tree = _unpack_all(layout, scratch, paths, progress)
    verified = {path.name for path in paths} == set(official)
    kind = ("official archive" if verified else "archive") + ("s" if len(paths) > 1 else "")
    origin = Origin(f"{kind} {', '.join(path.name for path in paths)}", verified=verified)
    return Found(tree, temporary=True, origin=origin)


def _unpack_all(layout: Layout, scratch: Path, paths: list[Path], progress: Progress) -> Path:
    for path in paths:
        unpack(path, scratch, progress)
    tree = _find_tree(scratch, layout)
    if tree is not None:
        return tree
    # Some official archives hold another one.
    for inner in [path for folder in _folders(scratch) for path in folder.iterdir() if is_archive(path)]:
        unpack(inner, scratch, progress)
        inner.unlink()
    tree = _find_tree(scratch, layout)
    if tree is None:
        names = ", ".join(str(path) for path in paths)
        raise DataError(f"{names}: unpacked, but holds no {layout.describe()}")
    return tree


def _find_tree(folder: Path, layout: Layout) -> Path | None:
    for tree in layout.trees:
        for candidate in _folders(folder):
            if all(any(candidate.glob(pattern)) for pattern in tree):
                return candidate
        # The user may have named the folder that the pattern describes.
        if tree == (folder.absolute().name,):
            return folder.absolute().parent
    return None


def _find_file(folder: Path, name: str) -> Path | None:
    return next((path for parent in _folders(folder) if (path := parent / name).is_file()), None)


def _find_archives(folder: Path, layout: Layout) -> list[Path]:
    parents = (folder, *_folders_in(folder))
    found = {path for parent in parents for pattern in layout.archives for path in parent.glob(pattern)}
    return sorted(path for path in found if is_archive(path))


def _folders(folder: Path) -> Iterator[Path]:
    """The folder, those in it and those in them, nearest first.

    No deeper: below lie the images, whose listing takes minutes on a parallel file system.
    """
    level = [folder]
    for _ in range(2):
        yield from level
        level = [child for parent in level for child in _folders_in(parent)]
    yield from level


def _folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _nothing_found(known: Entry, layout: Layout, source: Path, official: list[Path], others: list[Path]) -> str:
    wanted = [layout.describe()]
    if known.archives:
        wanted.insert(0, " + ".join(archive.file for archive in known.archives))
    message = f"{source}: holds no files of {known.name!r}; looked for {' or '.join(wanted)}, up to two folders deep"
    if official:
        missing = {archive.file for archive in known.archives} - {path.name for path in official}
        message += f"; {', '.join(sorted(missing))} missing"
    if others:
        message += f"; name one of these archives itself: {', '.join(map(str, others))}"
    return message
