"""One training step: wait for representatives, assemble, train."""

from __future__ import annotations

import functools
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

    Attributes:
        first_tasks: For each of the strategy's draws, the task from which on it is trained with.
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
    first_tasks: tuple[int, ...]

    def __call__(self, minibatch: Batch, upcoming: Batch | None, step: int, task: int) -> Tensor:
        """Train one minibatch.

        Args:
            minibatch: This rank's samples as loaded, possibly none.
            upcoming: The minibatch of the next step, None at the end of an epoch.
            step: Number of the step in the run.
            task: Number of the task.

        Returns:
            This rank's share of the loss, detached, on the device.
        """
        with self.timer.phase("wait"):
            minibatch, drawn = self._exchange(minibatch, upcoming)
        with self.timer.phase("assemble"):
            randomness = generator(self.seed, "augment", self.world.rank, step)
            prepared, *draws = self._prepare((minibatch, *drawn), randomness)
        with self.timer.phase("train"):
            used = (
                draw if task >= first else _none_of(draw) for draw, first in zip(draws, self.first_tasks, strict=True)
            )
            return self._train(minibatch, prepared, tuple(used))

    def _exchange(self, minibatch: Batch, upcoming: Batch | None) -> tuple[Batch, tuple[Batch, ...]]:
        if self.buffer is None:
            return minibatch, ()
        if self.strategy.stores:
            # What is stored besides the sample is known after the forward pass.
            return minibatch, self.buffer.take()
        return self.buffer.exchange(minibatch, upcoming)

    def _prepare(self, batches: tuple[Batch, ...], randomness: torch.Generator) -> list[Batch]:
        """All on the device, augmented and normalised as one block, so that joining them again copies nothing."""
        moved = [batch.map_tensors(lambda rows: rows.to(self.device, non_blocking=True)) for batch in batches]
        inputs = self.preprocess.train(functools.reduce(joined, (batch.inputs for batch in moved)), randomness)
        parts = inputs.split([len(batch) for batch in moved])
        return [replace(batch, inputs=part) for batch, part in zip(moved, parts, strict=True)]

    def _train(self, minibatch: Batch, prepared: Batch, draws: tuple[Batch, ...]) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.strategy.loss(prepared, draws)
        if self.buffer is not None and self.strategy.stores:
            self.buffer.offer(self._with_stored(minibatch))
        loss.backward()
        self.optimizer.synchronize()
        self.strategy.adjust_gradients()
        self.optimizer.step()
        return loss.detach()

    def _with_stored(self, minibatch: Batch) -> Batch:
        """The samples as loaded, with what the strategy stores beside each."""
        stored = {name: rows.to("cpu") for name, rows in self.strategy.stored().items()}
        return replace(minibatch, targets={**minibatch.targets, **stored})


def _none_of(batch: Batch) -> Batch:
    """No samples, on any rank, of the same kind."""
    return replace(batch.map_tensors(lambda rows: rows[:0]), num_global=0)
