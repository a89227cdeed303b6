"""What the engine counts and times, in the words and units of this project."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rehearse.core.records import PhaseTimes

# Our phase → the engine's stages. Records of mapped memory are copied, others fetched; minibatches are copied.
_STAGES = {
    "populate": ("offer",),
    "plan": ("plan",),
    "fetch": ("fetch",),
    "copy": ("copy", "assemble"),
    "wait": ("wait",),
}
_BACKGROUND = ("populate", "plan", "fetch", "copy")
_COUNTS = {
    "budget_slots": "budget",
    "capacity_slots": "capacity",
    "stored_slots": "items",
    "rounds": "round",
    "offered": "offered_rows",
    "inserted": "inserted_rows",
    "evicted": "evicted_rows",
    "retries": "retries",
    "peers_lost": "peers_lost",
}


def counts_of(report: Mapping[str, float]) -> dict[str, int]:
    """Sizes now, and sums since the start of the engine.

    Args:
        report: ``neomem.Memory.stats()``.
    """
    return {
        **{ours: int(report[theirs]) for ours, theirs in _COUNTS.items()},
        "bytes": int(report["arena_bytes"] + report["slab_bytes"] + report["index_bytes"]),
        "drawn": int(report["sampled_rows"]),
        "bytes_exchanged": int(report["mapped_bytes"] + report["remote_bytes"]),
    }


def seconds_of(report: Mapping[str, float]) -> dict[str, float]:
    """``<phase>_s`` since the start, ``<phase>_p50_s`` and ``<phase>_p99_s`` over the last 1024 rounds.

    A percentile of two stages is the sum of theirs.
    """
    return {
        f"{phase}{ours}_s": _sum_us(report, stages, theirs) / 1e6
        for phase, stages in _STAGES.items()
        for ours, theirs in (("", "total"), ("_p50", "p50"), ("_p99", "p99"))
    }


def background_phases_of(report: Mapping[str, float]) -> dict[str, PhaseTimes]:
    """Times of the phases that the engine's thread spent beside the training steps; those that took place."""
    return {
        phase: PhaseTimes(
            mean_ms=_sum_us(report, stages, "total") / rounds / 1e3,
            p50_ms=_sum_us(report, stages, "p50") / 1e3,
            p99_ms=_sum_us(report, stages, "p99") / 1e3,
            total_s=_sum_us(report, stages, "total") / 1e6,
        )
        for phase, stages in _STAGES.items()
        if phase in _BACKGROUND and (rounds := max(report.get(f"{stage}_count", 0) for stage in stages))
    }


def _sum_us(report: Mapping[str, float], stages: Iterable[str], what: str) -> float:
    return sum(report.get(f"{stage}_{what}_us", 0.0) for stage in stages)
