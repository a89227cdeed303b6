"""What the engine counts and times, in the words and units of this project."""

from __future__ import annotations

from collections.abc import Mapping

from rehearse.core.records import PhaseTimes

# Our phase → the engine's stage.
_STAGES = {"populate": "offer", "plan": "plan", "fetch": "copy", "copy": "assemble", "wait": "wait"}
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
    """``<phase>_s`` since the start, ``<phase>_p50_s`` and ``<phase>_p99_s`` over the last 1024 rounds."""
    return {
        f"{phase}{ours}_s": report.get(f"{stage}_{theirs}_us", 0.0) / 1e6
        for phase, stage in _STAGES.items()
        for ours, theirs in (("", "total"), ("_p50", "p50"), ("_p99", "p99"))
    }


def background_phases_of(report: Mapping[str, float]) -> dict[str, PhaseTimes]:
    """Times of the phases that the engine's thread spent beside the training steps."""
    stages = {phase: _STAGES[phase] for phase in _BACKGROUND}
    return {
        phase: PhaseTimes(
            mean_ms=report[f"{stage}_total_us"] / report[f"{stage}_count"] / 1e3,
            p50_ms=report[f"{stage}_p50_us"] / 1e3,
            p99_ms=report[f"{stage}_p99_us"] / 1e3,
            total_s=report[f"{stage}_total_us"] / 1e6,
        )
        for phase, stage in stages.items()
        if report[f"{stage}_count"]
    }
