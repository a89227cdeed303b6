"""Unpacking of archives that nobody has to trust: no path leaves the target folder, no link is made."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from rehearse.core.errors import DataError
from rehearse.core.protocols import Progress

_OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}
_TAR_SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile)
_CHUNK_BYTES = 1 << 20


def is_archive(path: Path) -> bool:
    """Whether the name is that of a file that `unpack` takes."""
    return path.name.endswith((".zip", ".gz", *_TAR_SUFFIXES))


def unpack(archive: Path, into: Path, progress: Progress) -> None:
    """Unpack a ``.zip``, a ``.tar`` (plain, gz, xz, bz2) or a single ``.gz`` file below a folder.

    Raises:
        DataError: The archive is truncated, corrupt or unsafe; names it and, where known, the member.
    """
    into.mkdir(parents=True, exist_ok=True)
    try:
        if archive.suffix == ".zip":
            _unpack_zip(archive, into, progress)
        else:
            _unpack_stream(archive, into, progress)
    except _DAMAGE as error:
        raise _damaged(archive, error) from None
    except OSError as error:
        if error.errno is not None:
            raise
        # bz2 reports corrupt data as an OSError without a number.
        raise _damaged(archive, error) from None


def _damaged(archive: Path, error: Exception) -> DataError:
    return DataError(f"{archive}: truncated or corrupt archive ({error}); delete it and fetch it again")


def _unpack_zip(archive: Path, into: Path, progress: Progress) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for done, member in enumerate(members, 1):
            target = _inside(into, member.filename, archive)
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                with file.open(member) as content:
                    _write(content, target)
            progress(f"unpack {archive.name}", done, len(members))


def _unpack_stream(archive: Path, into: Path, progress: Progress) -> None:
    total = archive.stat().st_size
    with archive.open("rb") as raw:
        stream = _OPENERS[archive.suffix](raw) if archive.suffix in _OPENERS else raw
        with stream:
            if archive.name.endswith(_TAR_SUFFIXES):
                _unpack_tar(stream, archive, into, lambda: progress(f"unpack {archive.name}", raw.tell(), total))
            else:
                _write(stream, into / archive.stem)
            # A tar ends before its compressed stream does; reading on checks the stream's own checksum.
            while stream.read(_CHUNK_BYTES):
                pass
    progress(f"unpack {archive.name}", total, total)


def _unpack_tar(stream: IO[bytes], archive: Path, into: Path, tick: Callable[[], None]) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as file:
        for member in file:
            target = _inside(into, member.name, archive)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            content = file.extractfile(member) if member.isreg() else None
            if content is None:
                raise DataError(f"{archive}: unsafe member {member.name!r}: neither a file nor a folder")
            _write(content, target)
            tick()


def _inside(into: Path, name: str, archive: Path) -> Path:
    target = into / name
    if Path(name).is_absolute() or not target.resolve().is_relative_to(into.resolve()):
        raise DataError(f"{archive}: unsafe member {name!r} would be written outside of the target folder")
    return target


def _write(content: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(content, file, _CHUNK_BYTES)
