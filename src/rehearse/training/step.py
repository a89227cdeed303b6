"""One training step: wait for representatives, assemble, train."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rehearse.core.batch import Batch
from rehearse.core.protocols import Buffer, DistributedOptimizer, LoadedMinibatch, Strategy
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

    def __call__(self, loaded: LoadedMinibatch, num_global: int, step: int) -> Tensor:
        """Train one minibatch.

        Args:
            loaded: This rank's samples, possibly none.
            num_global: Samples of all ranks together.
            step: Number of the step in the run.

        Returns:
            This rank's share of the loss, detached, on the device.
        """
        minibatch = Batch(
            inputs=loaded.inputs,
            labels=loaded.labels,
            num_global=num_global,
            num_ranks=self.world.num_ranks,
            targets=loaded.targets,
            indices=loaded.indices,
        )
        with self.timer.phase("wait"):
            representatives = self._exchange(minibatch)
        with self.timer.phase("assemble"):
            draws = generator(self.seed, "augment", self.world.rank, step)
            minibatch = self._prepare(minibatch, draws)
            representatives = self._prepare(representatives, draws)
        with self.timer.phase("train"):
            return self._train(minibatch, representatives)

    def _exchange(self, minibatch: Batch) -> Batch:
        if self.buffer is None:
            return Batch(
                inputs=minibatch.inputs[:0],
                labels=minibatch.labels[:0],
                targets={name: rows[:0] for name, rows in minibatch.targets.items()},
                num_global=0,
                num_ranks=minibatch.num_ranks,
            )
        representatives = self.buffer.take()
        self.buffer.offer(minibatch)
        return representatives

    def _prepare(self, batch: Batch, draws: torch.Generator) -> Batch:
        moved = batch.map_tensors(lambda rows: rows.to(self.device, non_blocking=True))
        return Batch(
            inputs=self.preprocess.train(moved.inputs, draws),
            labels=moved.labels,
            num_global=moved.num_global,
            num_ranks=moved.num_ranks,
            targets=moved.targets,
            indices=moved.indices,
        )

    def _train(self, minibatch: Batch, representatives: Batch) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.strategy.loss(minibatch, representatives)
        loss.backward()
        self.optimizer.synchronize()
        self.strategy.adjust_gradients()
        self.optimizer.step()
        return loss.detach()
