"""One training step: wait for representatives, assemble, train."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from rehearse.core.batch import Batch, joined
from rehearse.core.protocols import Buffer, DistributedOptimizer, Strategy
from rehearse.core.world import World
from rehearse.training.preprocess import Preprocessor
from rehearse.training.seeds import generator
from rehearse.training.timing import PhaseTimer


@dataclass(frozen=True, slots=True)
class TrainStep:
    """What a step works with; calling it trains one minibatch.

    The minibatch is trained with representatives drawn during the previous step, and offered to
    the buffer for the next ones.
    """

    model: nn.Module
    strategy: Strategy
    buffer: Buffer | None
    optimizer: DistributedOptimizer
    preprocess: Preprocessor
    world: World
    device: torch.device
    timer: PhaseTimer
    seed: int

    def __call__(self, minibatch: Batch, upcoming: Batch | None, step: int) -> Tensor:
        """Train one minibatch.

        Args:
            minibatch: This rank's samples as loaded, possibly none.
            upcoming: The minibatch of the next step, None at the end of an epoch.
            step: Number of the step in the run.

        Returns:
            This rank's share of the loss, detached, on the device.
        """
        with self.timer.phase("wait"):
            minibatch, representatives = self._exchange(minibatch, upcoming)
        with self.timer.phase("assemble"):
            draws = generator(self.seed, "augment", self.world.rank, step)
            minibatch, representatives = self._prepare(minibatch, representatives, draws)
        with self.timer.phase("train"):
            return self._train(minibatch, representatives)

    def _exchange(self, minibatch: Batch, upcoming: Batch | None) -> tuple[Batch, Batch]:
        if self.buffer is not None:
            return self.buffer.exchange(minibatch, upcoming)
        nothing = replace(minibatch.map_tensors(lambda rows: rows[:0]), num_global=0, indices=None)
        return minibatch, nothing

    def _prepare(self, minibatch: Batch, representatives: Batch, draws: torch.Generator) -> tuple[Batch, Batch]:
        """Both on the device, augmented and normalised as one block, so that joining them again copies nothing."""
        first, second = (
            batch.map_tensors(lambda rows: rows.to(self.device, non_blocking=True))
            for batch in (minibatch, representatives)
        )
        inputs = self.preprocess.train(joined(first.inputs, second.inputs), draws)
        return replace(first, inputs=inputs[: len(first)]), replace(second, inputs=inputs[len(first) :])

    def _train(self, minibatch: Batch, representatives: Batch) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.strategy.loss(minibatch, representatives)
        loss.backward()
        self.optimizer.synchronize()
        self.strategy.adjust_gradients()
        self.optimizer.step()
        return loss.detach()
