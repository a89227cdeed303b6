"""Follows the loss over steps without waiting for the device, and notices when it stops being a number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rehearse.core.errors import TrainingError
from rehearse.core.protocols import Communicator


class LossMeter:
    """Mean loss over all ranks and samples since the last reading."""

    def __init__(self, communicator: Communicator, device: torch.device) -> None:
        self._communicator = communicator
        self._sum = torch.zeros(1, dtype=torch.float64, device=device)
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self._num_samples = 0

    def add(self, loss: Tensor, num_samples: int, step: int) -> None:
        """Note one step.

        Args:
            loss: This rank's share of the mean over ``num_samples``.
            num_samples: Samples of all ranks together.
            step: Number of the step in the run.
        """
        self._sum += loss.double() * num_samples
        self._num_samples += num_samples
        good = torch.isfinite(loss)
        self._first_bad = torch.where(good | (self._first_bad >= 0), self._first_bad, step)

    def read(self, last_good: str) -> float:
        """Mean since the last reading, the same on all ranks; collective.

        Args:
            last_good: What to tell the user to return to if the loss is not finite.

        Raises:
            TrainingError: The loss of a step was infinite or not a number.
        """
        total = self._communicator.allreduce(self._sum, "mean").item()
        mean = total / max(self._num_samples, 1)
        if not math.isfinite(mean):
            steps = self._communicator.gather_objects(int(self._first_bad.item()))
            first = min((step for step in steps if step >= 0), default=-1)
            raise TrainingError(
                f"the loss is {mean} since step {first}; last good record: {last_good}. "
                "Lower training.lr or lengthen training.warmup_epochs"
            )
        self._sum.zero_()
        self._num_samples = 0
        return mean
