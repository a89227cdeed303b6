"""Times the phases of every training step, on CPU and GPU alike.

Host time is read from the monotonic clock. Work that a GPU does later is timed by a pair of
events, read once they have happened, so that measuring never waits for the device.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from rehearse.core.records import PhaseTimes

PHASES = ("load", "wait", "assemble", "train")
_ON_DEVICE = frozenset({"assemble", "train"})
_CALIBRATION_ROUNDS = 200


class PhaseTimer:
    """Collects the durations of load, wait, assemble and train."""

    def __init__(self, device: torch.device) -> None:
        self._events = device.type == "cuda"
        self._durations_s = {phase: array("d") for phase in PHASES}
        self._pending: deque[tuple[str, torch.cuda.Event, torch.cuda.Event]] = deque()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one phase of the current step."""
        if self._events and name in _ON_DEVICE:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            yield
            end.record()
            self._pending.append((name, begin, end))
            self._collect()
            return
        started_s = time.perf_counter()
        yield
        self._durations_s[name].append(time.perf_counter() - started_s)

    def last_ms(self) -> dict[str, float]:
        """Durations of the most recent step that is known, in ms, by phase."""
        self._collect()
        return {f"{name}_ms": values[-1] * 1e3 for name, values in self._durations_s.items() if values}

    def summary(self) -> dict[str, PhaseTimes]:
        """Mean and percentiles over all steps, by phase."""
        if self._pending:
            self._pending[-1][2].synchronize()
            self._collect()
        return {name: _describe(values) for name, values in self._durations_s.items() if values}

    def overhead_fraction(self) -> float:
        """Share of a step that measuring takes, from timing empty phases, 0–1."""
        steps = len(self._durations_s["train"])
        total_s = sum(sum(values) for values in self._durations_s.values())
        if steps == 0 or total_s == 0:
            return 0.0
        probe = PhaseTimer(torch.device("cuda" if self._events else "cpu"))
        started_s = time.perf_counter()
        for _ in range(_CALIBRATION_ROUNDS):
            for name in PHASES:
                with probe.phase(name):
                    pass
        return (time.perf_counter() - started_s) / _CALIBRATION_ROUNDS / (total_s / steps)

    def _collect(self) -> None:
        while self._pending and self._pending[0][2].query():
            name, begin, end = self._pending.popleft()
            self._durations_s[name].append(begin.elapsed_time(end) / 1e3)


def _describe(durations_s: array[float]) -> PhaseTimes:
    values_ms = np.asarray(durations_s) * 1e3
    p50, p99 = np.percentile(values_ms, (50, 99))
    return PhaseTimes(
        mean_ms=float(values_ms.mean()), p50_ms=float(p50), p99_ms=float(p99), total_s=float(values_ms.sum() / 1e3)
    )
