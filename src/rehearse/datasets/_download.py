"""Downloads that go on where they stopped."""

from __future__ import annotations

import http
import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from rehearse import __version__
from rehearse.core.catalogue import Archive
from rehearse.core.errors import DataError
from rehearse.core.log import logger
from rehearse.core.protocols import Progress
from rehearse.datasets._checksum import check_archive

_CHUNK_BYTES = 1 << 18
_TIMEOUT_S = 30.0
_PAUSES_S = (1.0, 2.0, 4.0, 8.0)
_WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})
# Everything else that goes wrong, such as a full disk, is about this machine.
_REMOTE = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


def download(archive: Archive, folder: Path, progress: Progress) -> Path:
    """Fetch an official file and check it; the partial file of an earlier attempt is continued.

    Args:
        archive: What to fetch.
        folder: Where it goes; holds ``<file>.partial`` until the file is complete and verified.
        progress: Called with bytes.

    Raises:
        DataError: No address gave the file, or what came has the wrong checksum.
        OSError: The file cannot be written.
    """
    target = folder / archive.file
    partial = folder / f"{archive.file}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return target
    resumed = partial.exists()
    _fetch_from_any(archive, partial, progress)
    try:
        check_archive(partial, archive, progress)
    except DataError:
        partial.unlink()
        if not resumed:
            raise
        logger.warning("%s: what an earlier download left is damaged; fetching all of it again", archive.file)
        return download(archive, folder, progress)
    return partial.replace(target)


def _fetch_from_any(archive: Archive, partial: Path, progress: Progress) -> None:
    failures = []
    for url in archive.urls:
        try:
            return _fetch_with_retries(url, partial, progress)
        except _REMOTE as error:
            failures.append(f"{url}: {_reason(error)}")
    raise DataError(
        f"cannot download {archive.file} ({'; '.join(failures)}). Without a network, fetch it on another machine "
        "and give the folder that holds it: rehearse stage … --source FOLDER"
    )


def _fetch_with_retries(url: str, partial: Path, progress: Progress) -> None:
    for pause_s in _PAUSES_S:
        try:
            return _fetch(url, partial, progress)
        except _REMOTE as error:
            if _is_permanent(error):
                raise
            logger.warning("%s: %s; trying again in %g s", url, _reason(error), pause_s)
            time.sleep(pause_s)
    return _fetch(url, partial, progress)


def _fetch(url: str, partial: Path, progress: Progress) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": f"rehearse/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return  # stopped after the last byte, before the check
        partial.unlink()
        raise ConnectionError("the partial file is not the beginning of this one; starting over") from None
    with response:
        _receive(response, partial, have, progress)


def _receive(response: http.client.HTTPResponse, partial: Path, have: int, progress: Progress) -> None:
    """Append what comes, or start over where the server does not continue.

    Raises:
        ConnectionError: The connection ended early; what came is kept.
    """
    continues = response.status == http.HTTPStatus.PARTIAL_CONTENT
    done = have if continues else 0
    length = response.headers["Content-Length"]
    total = done + int(length) if length else None
    with partial.open("ab" if continues else "wb") as file:
        while chunk := response.read1(_CHUNK_BYTES):
            file.write(chunk)
            done += len(chunk)
            progress(f"download {partial.stem}", done, total)
    if total is not None and done < total:
        raise ConnectionError(f"connection cut after {done} of {total} bytes")


def _is_permanent(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code not in _WORTH_RETRYING
    return isinstance(getattr(error, "reason", None), socket.gaierror)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
