"""The summary of a finished run."""

from __future__ import annotations

from rehearse.core.records import Summary
from rehearse.training.build import Run
from rehearse.training.history import History, freeze
from rehearse.training.metrics import compute_metrics
from rehearse.training.parameters import agreed_parameter_sha256
from rehearse.training.timing import PhaseTimer

# The same number on every rank; of percentiles the slowest rank's counts, everything else adds up over ranks.
_SHARED_STATISTICS = frozenset({"budget_slots", "rounds"})
_PERCENTILES = ("_p50_s", "_p99_s")


def summarize(run: Run, history: History, timer: PhaseTimer, startup_s: float) -> Summary:
    """Everything that tables and figures need; collective, the same on every rank."""
    top1, top5 = freeze(history.top1), freeze(history.top5)
    statistics, fill = _buffer_totals(run)
    return Summary(
        cell=run.cell,
        num_ranks=run.world.num_ranks,
        num_nodes=run.world.num_nodes,
        num_tasks=history.num_tasks,
        classes=tuple(task.classes for task in run.data.stream.tasks),
        num_train_samples=len(run.data.train_labels),
        num_parameters=sum(p.numel() for p in run.model.parameters()),
        top1=top1,
        top5=top5,
        top1_untrained=tuple(history.untrained),
        metrics_top1=compute_metrics(top1, history.untrained),
        metrics_top5=compute_metrics(top5),
        num_steps=tuple(history.num_steps),
        training_s=tuple(history.training_s),
        evaluation_s=tuple(history.evaluation_s),
        startup_s=startup_s,
        phases={**timer.summary(), **(run.buffer.background_phases() if run.buffer is not None else {})},
        timing_overhead_fraction=timer.overhead_fraction(),
        buffer=statistics,
        buffer_fill=fill,
        parameter_sha256=agreed_parameter_sha256(run.model, run.communicator),
    )


def _buffer_totals(run: Run) -> tuple[dict[str, float] | None, tuple[dict[str, int], ...] | None]:
    if run.buffer is None:
        return None, None
    statistics = run.communicator.gather_objects(run.buffer.stats())
    fills = run.communicator.gather_objects({str(label): count for label, count in run.buffer.fill().items()})
    totals = {name: _over_ranks(name, [rank[name] for rank in statistics]) for name in statistics[0]}
    return totals, tuple(fills)


def _over_ranks(name: str, values: list[float]) -> float:
    return max(values) if name in _SHARED_STATISTICS or name.endswith(_PERCENTILES) else sum(values)
