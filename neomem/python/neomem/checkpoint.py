"""All ranks' shards as one checkpoint: a folder that counts once its manifest is there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from neomem._neomem import Memory
from neomem.errors import CheckpointError

FORMAT = 1
_MANIFEST = "manifest.json"


def save(
    memory: Memory,
    folder: Path,
    tag: str,
    *,
    rank: int,
    exchange: Callable[[bytes], list[bytes]],
    base: str | None = None,
) -> None:
    """Save every rank's shard below ``folder/tag``; collective.

    Args:
        memory: This rank's.
        folder: On a file system that all ranks see.
        tag: Name of the checkpoint.
        rank: This rank.
        exchange: Returns every rank's bytes in rank order.
        base: Tag of the full checkpoint last saved, to write only what changed since.

    Raises:
        CheckpointError: Some rank could not write; the checkpoint is not complete on any.
    """
    target = folder / tag
    path = target / _shard(rank)
    report: dict[str, object] = {}
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / _MANIFEST).unlink(missing_ok=True)
        memory.save(path, incremental=base is not None)
        report = {"bytes": path.stat().st_size}
    except (CheckpointError, OSError) as error:
        report = {"error": str(error)}
    reports = [json.loads(message) for message in exchange(json.dumps(report).encode())]
    for peer, peer_report in enumerate(reports):
        if "error" in peer_report:
            raise CheckpointError(f"rank {peer}: {peer_report['error']}", str(target), str(peer_report["error"]))
    if rank == 0:
        _write(target / _MANIFEST, {"format": FORMAT, "base": base, "bytes": [r["bytes"] for r in reports]})
    exchange(b"")


def restore(memory: Memory, folder: Path, tag: str) -> None:
    """Restore ``folder/tag`` into a new memory, at any number of ranks; every rank calls it.

    Raises:
        CheckpointError: The checkpoint is incomplete or damaged; says which file.
    """
    manifest = _read(folder / tag)
    files = [folder / tag / _shard(rank) for rank in range(len(manifest["bytes"]))]
    for path, size in zip(files, manifest["bytes"], strict=True):
        found = path.stat().st_size if path.exists() else 0
        if found != size:
            raise CheckpointError(f"{path}: has {found} bytes instead of {size}", str(path), "wrong size")
    base = manifest["base"]
    bases = [folder / base / path.name for path in files] if base else []
    memory.restore(files, bases)


def _shard(rank: int) -> str:
    return f"rank-{rank}.neo"


def _read(target: Path) -> dict[str, list[int]]:
    path = target / _MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: the checkpoint is not complete ({error})", str(path), str(error)) from None
    if manifest["format"] != FORMAT:
        raise CheckpointError(f"{path}: format {manifest['format']}, this is {FORMAT}", str(path), "format")
    return manifest


def _write(path: Path, content: dict[str, object]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
