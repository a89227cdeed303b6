"""Checksums of files and of whole folders."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rehearse.core.catalogue import Archive
from rehearse.core.errors import DataError
from rehearse.core.protocols import Progress
from rehearse.core.staging import StagedFile, StagedTree

_CHUNK_BYTES = 1 << 20
MAX_THREADS = min(8, os.cpu_count() or 1)


def file_checksum(path: Path, algorithm: str = "sha256", progress: Progress | None = None) -> str:
    """Checksum of a file in hexadecimal."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(f"check {path.name}", done, total)
    return digest.hexdigest()


def check_archive(path: Path, archive: Archive, progress: Progress) -> None:
    """Compare a file with the official checksum.

    Raises:
        DataError: They differ; the message gives both and the sizes.
    """
    check_checksum(path, "sha256" if archive.sha256 else "md5", archive.sha256 or archive.md5, progress)


def check_checksum(path: Path, algorithm: str, expected: str, progress: Progress) -> None:
    """Compare a file with a known checksum.

    Raises:
        DataError: They differ; the message gives both.
    """
    found = file_checksum(path, algorithm, progress)
    if found != expected.lower():
        raise DataError(
            f"{path}: wrong checksum: {algorithm} is {found}, expected {expected} ({path.stat().st_size} bytes found); "
            "the file is damaged or incomplete: delete it and fetch it again"
        )


def describe_file(root: Path, path: Path) -> StagedFile:
    """Size and checksum of a staged file."""
    return StagedFile(path=path.relative_to(root).as_posix(), num_bytes=path.stat().st_size, sha256=file_checksum(path))


def describe_tree(root: Path, folder: Path, progress: Progress) -> StagedTree:
    """Count, size and one checksum of all files below a folder, links followed."""
    paths = sorted(Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names)
    lines: list[str] = []
    num_bytes = 0
    with ThreadPoolExecutor(MAX_THREADS) as pool:
        for done, (path, checksum) in enumerate(zip(paths, pool.map(file_checksum, paths), strict=True), 1):
            lines.append(f"{checksum}  {path.relative_to(folder).as_posix()}\n")
            num_bytes += path.stat().st_size
            progress(f"checksums of {folder.name}", done, len(paths))
    combined = hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape"))
    return StagedTree(
        path=folder.relative_to(root).as_posix(),
        num_files=len(paths),
        num_bytes=num_bytes,
        sha256=combined.hexdigest(),
    )
