"""Learning rate at each step of a task, from a declarative regime."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from rehearse.core.experiment import Phase, Regime

# Goyal et al. scale the rate with the number of ranks; beyond 64 the papers keep it.
MAX_SCALED_RANKS = 64


@dataclass(frozen=True, slots=True)
class Schedule:
    """The rate of one task: linear warm-up from ``lr`` to ``lr · min(ranks, 64)``, then the regime's phases.

    Attributes:
        regime: Phases, given for ``regime.of_epochs`` and stretched to ``epochs``.
        lr: Base rate of one rank.
        num_ranks: Ranks that train together.
        epochs: Epochs of the task.
        warmup_epochs: Length of the warm-up; 0 starts at the scaled rate.
        steps_per_epoch: Optimiser steps per epoch.
    """

    regime: Regime
    lr: float
    num_ranks: int
    epochs: int
    warmup_epochs: int
    steps_per_epoch: int

    @property
    def scaled_lr(self) -> float:
        """The rate after the warm-up."""
        return self.lr * min(self.num_ranks, MAX_SCALED_RANKS)

    def at(self, step: int) -> float:
        """Rate of a step of the task, counted from 0."""
        warmup_steps = self.warmup_epochs * self.steps_per_epoch
        if step < warmup_steps:
            return self.lr + (self.scaled_lr - self.lr) * step / warmup_steps
        epoch = step / self.steps_per_epoch
        phase, end = self._phase(epoch)
        rate = max(self.scaled_lr * phase.lr_factor + phase.lr_offset, 0.0)
        if phase.shape == "constant":
            return rate
        start = max(self._start(phase), self.warmup_epochs)
        progress = (epoch - start) / max(end - start, 1e-12)
        return self.regime.lr_min + (rate - self.regime.lr_min) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2

    def _start(self, phase: Phase) -> float:
        return phase.epoch * self.epochs / self.regime.of_epochs

    def _phase(self, epoch: float) -> tuple[Phase, float]:
        """The phase that holds at an epoch, and the epoch at which it ends."""
        for phase, following in itertools.pairwise(self.regime.phases):
            if epoch < self._start(following):
                return phase, self._start(following)
        return self.regime.phases[-1], float(self.epochs)
