"""Tells people and files how a run goes; only the leader writes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean

import psutil

from rehearse.core.errors import OutputError
from rehearse.core.log import logger
from rehearse.core.protocols import TaskSpec
from rehearse.core.records import Event, EventKind, EventWriter, RunFiles, Summary, Value, to_json, write_atomically
from rehearse.training.build import Run
from rehearse.training.evaluate import TaskAccuracy
from rehearse.training.history import History, matrix_csv
from rehearse.training.provenance import collect_provenance


class Journal:
    """Writes ``events.jsonl``, ``provenance.json``, ``accuracy_matrix.csv`` and ``summary.json``.

    Attributes:
        last_good: Where the last record with a finite loss was written, for messages.
        startup_s: From the start of the process to the start of training.
    """

    def __init__(self, files: RunFiles, is_leader: bool) -> None:
        self._files = files
        self._events = EventWriter(files.events) if is_leader else None
        self._started_s = time.perf_counter()
        self.last_good = "none"
        self.startup_s = 0.0

    def start(self, run: Run) -> None:
        """Record what is about to be trained; collective."""
        provenance = collect_provenance(run.cell, run.communicator, run.device, run.buffer)
        self.startup_s = time.time() - psutil.Process().create_time()
        self._started_s = time.perf_counter()
        if self._events is not None:
            # What an earlier attempt left behind would stand beside the events of this one.
            self._files.accuracy_matrix.unlink(missing_ok=True)
            write_atomically(self._files.provenance, to_json(provenance))
        tasks = run.data.stream.tasks
        logger.info("%s: %d tasks, %d ranks, %s", run.cell.id, len(tasks), run.world.num_ranks, run.device)
        values: dict[str, Value] = {"num_tasks": len(tasks), "num_ranks": run.world.num_ranks, "cell": run.cell.id}
        self._write("run_start", values=values)

    def task_start(self, task: TaskSpec, epochs: int) -> None:
        """Record the start of a task."""
        self._write("task_start", task=task.id, values={"num_samples": len(task.train), "num_epochs": epochs})

    def step(self, task: int, epoch: int, step: int, values: dict[str, Value]) -> None:
        """Record a step: mean loss since the last record, rate, phases in ms."""
        self._write("step", task=task, epoch=epoch, step=step, values=values)
        self.last_good = f"{self._files.events}, task {task}, epoch {epoch}, step {step}"

    def epoch(self, task: int, epoch: int, loss: float, num_samples: int, duration_s: float) -> None:
        """Record the end of an epoch."""
        values: dict[str, Value] = {"loss": loss, "num_samples": num_samples, "duration_s": duration_s}
        self._write("epoch", task=task, epoch=epoch, values=values)
        # People count from 1, records from 0.
        logger.info(
            "task %d epoch %d: loss %.4f, %d samples in %.2f s", task + 1, epoch + 1, loss, num_samples, duration_s
        )

    def evaluated(self, task: int, accuracies: Sequence[TaskAccuracy], history: History) -> None:
        """Record the accuracies after a task, and the task's times."""
        for other, accuracy in enumerate(accuracies):
            values: dict[str, Value] = {
                "on_task": other,
                "top1": accuracy.top1,
                "top5": accuracy.top5,
                "num_samples": accuracy.num_samples,
            }
            self._write("evaluation", task=task, values=values)
        average = fmean(a.top1 for a in accuracies[: task + 1]) if accuracies else None
        training_s, evaluation_s = history.training_s[-1], history.evaluation_s[-1]
        values = {"average_top1": average, "training_s": training_s, "evaluation_s": evaluation_s}
        self._write("task_end", task=task, values=values)
        shown = "not evaluated" if average is None else f"average accuracy {average:.1%}"
        logger.info("task %d done: %s, trained %.2f s, evaluated %.2f s", task + 1, shown, training_s, evaluation_s)

    def end(self, summary: Summary) -> None:
        """Write the results; the summary comes last, because it says that the run is complete."""
        self._write("run_end", values={"faa": summary.metrics_top1.faa, "training_s": sum(summary.training_s)})
        if self._events is not None:
            self._events.close()
            write_atomically(self._files.accuracy_matrix, matrix_csv(summary.top1, summary.top5))
            write_atomically(self._files.summary, to_json(summary.model_dump(mode="json")))

    @contextmanager
    def recording_errors(self) -> Iterator[None]:
        """Record why the run stops early, and let the error go on."""
        try:
            yield
        except OutputError:
            raise
        except BaseException as error:
            self._write("error", values={"message": f"{type(error).__name__}: {error}"})
            raise

    def _write(
        self,
        kind: EventKind,
        *,
        task: int | None = None,
        epoch: int | None = None,
        step: int | None = None,
        values: dict[str, Value] | None = None,
    ) -> None:
        if self._events is None:
            return
        seconds = time.perf_counter() - self._started_s
        self._events.write(Event(kind=kind, seconds=seconds, task=task, epoch=epoch, step=step, values=values or {}))
