"""Follows the ``events.jsonl`` of a running cell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class CellState:
    """What a cell's records say so far; None is not known yet.

    Attributes:
        num_tasks: Tasks of the stream.
        task: Current task, from 0.
        num_epochs: Epochs of the current task.
        epoch: Current epoch, from 0.
        loss: Mean loss of the last epoch or of the last steps.
        accuracy: Average top-1 accuracy over the tasks seen, after the last task that ended, 0–1.
        training_s: Training time so far, in s; the whole run's once it has ended.
    """

    num_tasks: int | None = None
    task: int | None = None
    num_epochs: int | None = None
    epoch: int = 0
    loss: float | None = None
    accuracy: float | None = None
    training_s: float = 0.0

    def update(self, event: dict[str, Any]) -> None:
        """Take one record into account."""
        kind, values = event.get("kind"), event.get("values", {})
        if kind == "run_start":
            self.num_tasks = values.get("num_tasks")
        elif kind == "task_start":
            self.task, self.num_epochs, self.epoch = event.get("task"), values.get("num_epochs"), 0
        elif kind in ("step", "epoch"):
            self.loss = values.get("loss", self.loss)
            self.epoch = event.get("epoch", self.epoch) + (kind == "epoch")
        elif kind == "task_end":
            self.accuracy = values.get("average_top1", self.accuracy)
            self.training_s += values.get("training_s", 0.0)
        elif kind == "run_end":
            self.accuracy = values.get("faa", self.accuracy)
            self.training_s = values.get("training_s", self.training_s)

    @property
    def fraction(self) -> float:
        """Share of the run that is done, 0–1."""
        if not self.num_tasks or self.task is None or not self.num_epochs:
            return 0.0
        return min((self.task + self.epoch / self.num_epochs) / self.num_tasks, 1.0)

    def __str__(self) -> str:
        if self.task is None:
            return "starting"
        epoch = self.epoch + 1 if self.num_epochs is None else min(self.epoch + 1, self.num_epochs)
        parts = [f"task {self.task + 1}/{self.num_tasks or '?'}", f"epoch {epoch}/{self.num_epochs or '?'}"]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.3f}")
        if self.accuracy is not None:
            parts.append(f"accuracy {self.accuracy:.1%}")
        return ", ".join(parts)


class Tail:
    """Reads what was appended to a file of records since the last look.

    Records that an earlier attempt left behind are not read: the file must have changed since the
    tail was created. Clocks of other machines are not trusted for that.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stale = _signature(path)
        self._offset = 0
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:
        """New complete records; lines that are not records are passed over."""
        signature = _signature(self._path)
        if signature is None or signature == self._stale:
            return []
        self._stale = None
        if signature[1] < self._offset:
            self._offset, self._rest = 0, b""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except OSError:
            return []
        self._offset += len(text)
        *lines, self._rest = (self._rest + text).split(b"\n")
        return [event for line in lines if isinstance(event := _parse(line), dict)]


def last_lines(path: Path, number: int) -> list[str]:
    """The end of a log; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-number:]
    except OSError:
        return []


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
