"""Keeps track of a campaign's jobs from Snakemake's events and tells the display."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from snakemake_interface_logger_plugins.common import LogEvent

from rehearse.core.campaign import load_campaign
from rehearse.core.errors import RehearseError
from rehearse.core.records import RunFiles
from snakemake_logger_plugin_rehearse.display import Display
from snakemake_logger_plugin_rehearse.tail import CellState, Tail, last_lines

CELL_RULE = "train"
_POLL_S = 0.5
_LOG_LINES = 20
# Said in every run, and of no use to who waits for a campaign.
_NOISE = (
    "Assuming unrestricted",
    "Building DAG",
    "Complete log",
    "Conda environments: ignored",
    "Elapsed time",
    "Loading trusted IOCache",
    "Select jobs",
    "Using shell",
)


@dataclass(slots=True)
class RunningCell:
    """A cell that is being trained."""

    name: str
    tail: Tail
    state: CellState = field(default_factory=CellState)

    def look(self) -> None:
        """Read what it has recorded since the last look; a record of an unknown form is passed over."""
        for event in self.tail.read():
            with suppress(TypeError, AttributeError):
                self.state.update(event)


class Monitor:
    """Turns events into progress; safe to call from several threads.

    Args:
        display: Where progress is shown.
        render: Snakemake's own text of a record.
    """

    def __init__(self, display: Display, render: Callable[[logging.LogRecord], str]) -> None:
        self._display = display
        self._render = render
        self._lock = threading.RLock()
        self._running: dict[int, RunningCell] = {}
        self._failed: dict[str, None] = {}
        self._config_files: list[str] = []
        self._num_done = self._num_cells = 0
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._takers: dict[LogEvent | None, Callable[[logging.LogRecord], None]] = {
            None: self._remark,
            LogEvent.WORKFLOW_STARTED: self._workflow_started,
            LogEvent.RUN_INFO: self._run_info,
            LogEvent.JOB_INFO: self._job_info,
            LogEvent.JOB_FINISHED: self._job_finished,
            LogEvent.JOB_ERROR: self._job_error,
        }

    def take(self, record: logging.LogRecord) -> None:
        """Show what the record means."""
        taker = self._takers.get(getattr(record, "event", None))
        with self._lock:
            if taker is not None:
                taker(record)
            elif record.levelno >= logging.WARNING:
                self._relay(record)

    def close(self) -> None:
        """Stop watching, say once more what failed, and leave the screen in order."""
        self._stopped.set()
        if self._watcher.is_alive():
            self._watcher.join(timeout=5.0)
        with self._lock:
            if self._failed:
                counted = f"{self._num_done} of {self._num_cells} cells done, {len(self._failed)} failed"
                self._display.message("\n  ".join([f"{counted}:", *self._failed]), "red")
            self._display.close()

    def _remark(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING or (text.strip() and not text.startswith(_NOISE)):
            self._relay(record)

    def _workflow_started(self, record: logging.LogRecord) -> None:
        self._config_files = [str(path) for path in getattr(record, "configfiles", [])]

    def _run_info(self, record: logging.LogRecord) -> None:
        """All jobs are known: count cells, those that an earlier run finished included."""
        num_jobs: dict[str, int] = getattr(record, "stats", {})
        num_to_train = num_jobs.get(CELL_RULE, 0)
        self._num_cells = self._count_cells() or num_to_train
        self._num_done = self._num_cells - num_to_train
        self._display.message(
            f"{self._num_done} of {self._num_cells} cells done, {num_to_train} to train, "
            f"{num_jobs.get('plot', 0)} figures to draw"
        )

    def _count_cells(self) -> int:
        try:
            return len(load_campaign(Path(self._config_files[0])).cells())
        except (IndexError, RehearseError):
            return 0

    def _job_info(self, record: logging.LogRecord) -> None:
        # Not before the first job: until then, the check of the campaign writes to the same terminal.
        self._display.count(self._num_done, self._num_cells)
        if not self._watcher.is_alive():
            self._watcher.start()
        message = getattr(record, "rule_msg", None)
        if getattr(record, "rule_name", None) != CELL_RULE:
            if message:
                self._display.message(message)
            return
        cell = _running_cell(record)
        self._running[record.jobid] = cell  # type: ignore[attr-defined]
        self._failed.pop(cell.name, None)
        self._display.message(f"{cell.name}: started", "dim")

    def _job_finished(self, record: logging.LogRecord) -> None:
        cell = self._running.pop(record.job_id, None)  # type: ignore[attr-defined]
        if cell is None:
            return
        cell.look()
        self._num_done += 1
        accuracy = "done" if cell.state.accuracy is None else f"accuracy {cell.state.accuracy:.1%}"
        counted = f"[{self._num_done}/{self._num_cells}]"
        self._display.message(f"{counted} {cell.name}: {accuracy}, trained {cell.state.training_s:.1f} s", "green")
        self._display.count(self._num_done, self._num_cells)
        self._show_running()

    def _job_error(self, record: logging.LogRecord) -> None:
        cell = self._running.pop(record.jobid, None)  # type: ignore[attr-defined]
        self._relay(record)
        if cell is not None:
            self._failed[cell.name] = None
            self._show_running()
        for path in getattr(record, "log", []):
            if lines := last_lines(Path(path), _LOG_LINES):
                self._display.message("\n".join([f"End of {path}:", *(f"  {line}" for line in lines)]), "red")

    def _relay(self, record: logging.LogRecord) -> None:
        styles = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "bold red"}
        self._display.message(self._render(record), styles.get(record.levelno, ""))

    def _watch(self) -> None:
        while not self._stopped.wait(_POLL_S):
            with self._lock:
                for cell in self._running.values():
                    cell.look()
                self._show_running()

    def _show_running(self) -> None:
        self._display.running({cell.name: cell.state for cell in self._running.values()})


def _running_cell(record: logging.LogRecord) -> RunningCell:
    names: dict[str, str] = getattr(record, "wildcards", {})
    folder = Path(getattr(record, "output", [])[0]).parent
    return RunningCell(
        name="{dataset}/{strategy}/{scaling}/seed-{seed}".format_map(names),
        tail=Tail(RunFiles(folder).events),
    )
