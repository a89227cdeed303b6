"""Which rank trains which sample at which step: a partition of each epoch's permutation.

The permutation depends on (seed, task, epoch) only. A step takes the next ``num_ranks × b``
samples and divides them evenly, so W ranks with minibatch b see at each step what one rank with
minibatch W·b would see. The last, partial step is kept; some ranks may get no sample in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rehearse.training.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """One rank's part of an epoch.

    Attributes:
        steps: Positions to train at each step, int64; may be empty for the last step.
        num_global: Samples of all ranks together at each step.
    """

    steps: tuple[NDArray[np.int64], ...]
    num_global: tuple[int, ...]


def epoch_permutation(positions: NDArray[np.int64], seed: int, task: int, epoch: int) -> NDArray[np.int64]:
    """The task's positions in the order in which the epoch trains them, ``(n,)`` int64."""
    order = np.random.default_rng(derive_seed(seed, "epoch", task, epoch))
    return order.permutation(positions)


def plan_epoch(
    order: NDArray[np.int64], batch_size: int, rank: int, num_ranks: int, limit_batches: int | None = None
) -> EpochPlan:
    """Divide an ordered set of positions into steps and take this rank's share of each.

    Args:
        order: ``(n,)`` positions of all ranks, in order.
        batch_size: b, samples per rank and step.
        rank: Whose share.
        num_ranks: Among how many.
        limit_batches: Keep at most this many steps.
    """
    stride = batch_size * num_ranks
    starts = range(0, len(order), stride)[:limit_batches]
    return EpochPlan(
        steps=tuple(order[start : start + stride][rank::num_ranks] for start in starts),
        num_global=tuple(min(stride, len(order) - start) for start in starts),
    )
