"""Makes a dataset available: complete and described by a manifest, or not there at all."""

from __future__ import annotations

import datetime
import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rehearse import __version__
from rehearse.core import registry
from rehearse.core.catalogue import Archive, entry
from rehearse.core.config import DatasetSection, PluginConfig, plugin_config
from rehearse.core.errors import DataError
from rehearse.core.log import logger
from rehearse.core.protocols import Dataset, Origin, Progress
from rehearse.core.records import to_json
from rehearse.core.staging import CLASSES, MANIFEST, Manifest, StagedFile, StagedTree, read_manifest, staged_folder
from rehearse.datasets._checksum import check_archive, describe_file, describe_tree
from rehearse.datasets._sources import DOWNLOADS

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_OURS = (MANIFEST, CLASSES)
_POLL_S = 0.5


def find_staged(section: DatasetSection, dataset_dir: Path) -> Manifest | None:
    """The manifest of a staged dataset; None where there is none or files are missing."""
    try:
        return read_manifest(section, dataset_dir)
    except DataError:
        return None


def stage_dataset(
    section: DatasetSection, dataset_dir: Path, source: Path | None, progress: Progress, sha256: str | None = None
) -> Manifest:
    """Stage a dataset, unless it is staged already.

    Files are gathered in a hidden folder beside the final one, which appears by a rename when they
    are complete; a staging that is killed leaves nothing that looks staged. Two at once take turns.

    Args:
        section: Dataset and options.
        dataset_dir: Below which staged datasets lie.
        source: Archive or folder that the user has; None downloads.
        progress: Called with what is being done.
        sha256: Expected checksum of ``source``, which then counts as verified.

    Raises:
        DataError: Whatever stands in the way; says how to go on.
        ConfigError: Options that the plug-in refuses.
    """
    config = plugin_config(section)
    folder = staged_folder(section, dataset_dir)
    if (staged := find_staged(section, dataset_dir)) is not None:
        return staged
    with _explained(dataset_dir), _only_one(folder):
        if (staged := find_staged(section, dataset_dir)) is not None:
            return staged
        _refuse_foreign(folder)
        partial = folder.parent / f".{folder.name}.partial"
        try:
            if partial.exists():  # a staging was killed
                shutil.rmtree(partial)
            partial.mkdir()
            manifest = _fill(config, partial, source, progress, sha256)
            _publish(partial, folder)
        except DataError as error:
            raise DataError(_by_origin(str(error), partial, source)) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(folder.parent / DOWNLOADS, ignore_errors=True)
    return manifest


def _by_origin(text: str, partial: Path, source: Path | None) -> str:
    """Name files by where they came from: the folder that was being filled is about to go."""

    def origin(match: re.Match[str]) -> str:
        given = source / match[1] if source is not None else None
        return str(given) if given is not None and given.exists() else match[1]

    return re.sub(rf"{re.escape(str(partial))}/([^:]+)", origin, text)


def verify_dataset(section: DatasetSection, dataset_dir: Path, progress: Progress) -> Manifest:
    """Compute all checksums of a staged dataset again.

    Raises:
        DataError: Not staged, or a file or folder is not what the manifest says; names each.
    """
    manifest = read_manifest(section, dataset_dir)
    folder = staged_folder(section, dataset_dir)
    with _explained(dataset_dir):
        files, trees = _describe(folder, progress)
    now: set[StagedFile | StagedTree] = {*files, *trees}
    then: set[StagedFile | StagedTree] = {*manifest.files, *manifest.trees}
    if changed := sorted({item.path for item in now ^ then}):
        raise DataError(
            f"{folder}: changed since it was staged: {', '.join(changed)}; delete the folder and stage it again"
        )
    return manifest


def _fill(config: PluginConfig, root: Path, source: Path | None, progress: Progress, sha256: str | None) -> Manifest:
    """Let the plug-in put its files below ``root``, open them once, and write the manifest."""
    known = entry(config.name)
    plugin: type[Dataset] = registry.get("datasets", config.name)
    if sha256 is not None:
        if source is None or not source.is_file():
            raise DataError("a sha256 can only be given for a --source that is one file")
        check_archive(source, Archive(source.name, (), sha256, "", source.stat().st_size), progress)
    origin: Origin = plugin.stage(config, root, source, progress)
    dataset = plugin(config, root)
    files, trees = _describe(root, progress)
    manifest = Manifest(
        name=config.name,
        version=known.version_of(config.model_dump()),
        source=origin.source,
        verified=origin.verified or sha256 is not None,
        licence=known.licence,
        num_classes=dataset.info.num_classes,
        num_train=len(dataset.split(train=True).labels),
        num_test=len(dataset.split(train=False).labels),
        staged_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        tool=f"rehearse {__version__}",
        files=files,
        trees=trees,
    )
    (root / MANIFEST).write_text(to_json(manifest.model_dump(mode="json")), encoding="utf-8")
    return manifest


def _describe(root: Path, progress: Progress) -> tuple[tuple[StagedFile, ...], tuple[StagedTree, ...]]:
    entries = sorted(path for path in root.iterdir() if path.name != MANIFEST)
    files = tuple(describe_file(root, path) for path in entries if path.is_file())
    trees = tuple(describe_tree(root, path, progress) for path in entries if path.is_dir())
    return files, trees


def _publish(partial: Path, folder: Path) -> None:
    for path in (partial / MANIFEST, partial):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if folder.exists():
        if any(folder.iterdir()):
            logger.warning("%s: incomplete or damaged, replaced", folder)
        shutil.rmtree(folder)
    partial.rename(folder)


def _refuse_foreign(folder: Path) -> None:
    """Protect a folder that a user filled by hand: only what a staging left may be replaced.

    Raises:
        DataError: The folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not any((folder / name).exists() for name in _OURS):
        raise DataError(
            f"{folder}: exists, but was not staged; move it elsewhere and stage it from there: --source FOLDER"
        )


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the lock of a dataset; the system releases it however this process ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        waiting = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    logger.info("%s: another process is staging it; waiting", folder)
                waiting = True
                time.sleep(_POLL_S)
        yield


@contextmanager
def _explained(dataset_dir: Path) -> Iterator[None]:
    """Turn errors of the file system into one line that says what to do."""
    try:
        yield
    except OSError as error:
        where = error.filename or dataset_dir
        # NumPy reports a short write as an OSError without a number.
        if error.errno in _FULL or error.errno is None:
            advice = "the disk is full: free some space or choose another --dataset-dir; nothing was staged"
        elif error.errno in _NO_LOCKS:
            advice = "this file system has no locks; choose a --dataset-dir on another"
        else:
            advice = "check the path and its permissions; nothing was staged"
        raise DataError(f"{where}: {error.strerror or error}; {advice}") from error
