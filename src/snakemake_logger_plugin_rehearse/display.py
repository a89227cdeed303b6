"""Shows progress: bars on a terminal, a line per event worth one elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from snakemake_logger_plugin_rehearse.tail import CellState

_HEARTBEAT_S = 30.0


class Display(ABC):
    """What the handler tells; counts are of cells of the whole campaign."""

    @abstractmethod
    def message(self, text: str, style: str = "") -> None:
        """Say something that stays on the screen."""

    @abstractmethod
    def count(self, done: int, total: int) -> None:
        """So many cells are done."""

    @abstractmethod
    def running(self, cells: Mapping[str, CellState]) -> None:
        """What the running cells are at, by name; called about twice a second."""

    @abstractmethod
    def close(self) -> None:
        """Leave the screen in order."""


class Lines(Display):
    """For logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last_s = time.monotonic()

    def message(self, text: str, style: str = "") -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()
        self._last_s = time.monotonic()

    def count(self, done: int, total: int) -> None:
        """The messages say it."""

    def running(self, cells: Mapping[str, CellState]) -> None:
        """Say it when nothing else was said for a while."""
        if cells and time.monotonic() - self._last_s > _HEARTBEAT_S:
            self.message("\n".join(f"  {name}: {state}" for name, state in cells.items()))

    def close(self) -> None:
        """Every line is complete."""


class Bars(Display):
    """For terminals: a bar for the campaign, and one per running cell."""

    def __init__(self, console: Console) -> None:
        self._cells = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._bars: dict[str, TaskID] = {}
        self._all: TaskID | None = None

    def message(self, text: str, style: str = "") -> None:
        self._cells.console.print(Text(text, style=style))

    def count(self, done: int, total: int) -> None:
        if self._all is None:
            self._cells.start()
            self._all = self._cells.add_task("cells", total=total, state="")
        self._cells.update(self._all, completed=done, total=total, state=f"{done}/{total}")

    def running(self, cells: Mapping[str, CellState]) -> None:
        for name in self._bars.keys() - cells.keys():
            self._cells.remove_task(self._bars.pop(name))
        for name, state in cells.items():
            if name not in self._bars:
                self._bars[name] = self._cells.add_task(escape(name), total=1.0, state=str(state))
            self._cells.update(self._bars[name], completed=state.fraction, state=str(state))

    def close(self) -> None:
        self.running({})
        self._cells.stop()


def choose_display(stream: TextIO) -> Display:
    """Bars where the stream is a terminal that can move its cursor."""
    console = Console(file=stream)
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines(stream)
