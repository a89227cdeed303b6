"""Checksums of files and of whole folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from rehearse.core.catalogue import Archive
from rehearse.core.errors import DataError
from rehearse.core.protocols import Progress
from rehearse.core.staging import StagedFile, StagedTree
from rehearse.datasets._threads import map_in_threads

_CHUNK_BYTES = 1 << 20


def file_checksum(path: Path, algorithm: str = "sha256", tick: Callable[[int], None] | None = None) -> str:
    """Checksum of a file in hexadecimal; ``tick`` is called with the bytes read so far."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if tick is not None:
                tick(done)
    return digest.hexdigest()


def check_archive(path: Path, archive: Archive, progress: Progress) -> None:
    """Compare a file with the official checksum of an archive.

    Raises:
        DataError: They differ; the message gives both.
    """
    total = path.stat().st_size
    algorithm, expected = ("sha256", archive.sha256) if archive.sha256 else ("md5", archive.md5)
    found = file_checksum(path, algorithm, lambda done: progress(f"check {archive.file}", done, total))
    if found != expected.lower():
        raise DataError(
            f"{path}: wrong checksum: {algorithm} is {found}, expected {expected} ({total} bytes found); "
            "the file is damaged, incomplete or another one: fetch it again"
        )


def describe_file(root: Path, path: Path) -> StagedFile:
    """Size and checksum of a staged file."""
    return StagedFile(path=path.relative_to(root).as_posix(), num_bytes=path.stat().st_size, sha256=file_checksum(path))


def describe_tree(root: Path, folder: Path, progress: Progress) -> StagedTree:
    """Count, size and one checksum of all files below a folder, links followed."""
    paths = sorted(Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names)
    lines: list[str] = []
    num_bytes = 0
    checksums = map_in_threads(file_checksum, paths, progress, f"checksums of {folder.name}")
    for path, checksum in zip(paths, checksums, strict=True):
        lines.append(f"{checksum}  {path.relative_to(folder).as_posix()}\n")
        num_bytes += path.stat().st_size
    combined = hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape"))
    return StagedTree(
        path=folder.relative_to(root).as_posix(),
        num_files=len(paths),
        num_bytes=num_bytes,
        sha256=combined.hexdigest(),
    )
