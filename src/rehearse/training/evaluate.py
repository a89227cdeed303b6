"""Exact evaluation: every test sample once over all ranks, counts summed as integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from rehearse.core.protocols import Communicator, Loader, TaskSpec
from rehearse.training.preprocess import Preprocessor
from rehearse.training.sharding import plan_epoch


@dataclass(frozen=True, slots=True)
class TaskAccuracy:
    """Accuracy on one task over all ranks.

    Attributes:
        num_samples: Test samples counted.
        top1: Share whose label is the highest output, 0–1.
        top5: Share whose label is among the five highest outputs, 0–1.
    """

    num_samples: int
    top1: float
    top5: float


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Evaluates a model on tasks; every rank gets the same numbers.

    Attributes:
        model: The network.
        loader: Over the test split.
        preprocess: Normalises; never augments.
        communicator: Sums the counts.
        device: Where the network is.
        batch_size: Samples per rank and minibatch.
        limit_batches: At most this many minibatches per task.
    """

    model: nn.Module
    loader: Loader
    preprocess: Preprocessor
    communicator: Communicator
    device: torch.device
    batch_size: int
    limit_batches: int | None = None

    def accuracies(self, tasks: Sequence[TaskSpec]) -> list[TaskAccuracy]:
        """Accuracy on each task."""
        if not tasks:
            return []
        training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            local = torch.stack([self._counts(task) for task in tasks])
        self.model.train(training)
        counts = self.communicator.allreduce(local, "sum").tolist()
        return [TaskAccuracy(num, top1 / num, top5 / num) for num, top1, top5 in counts]

    def _counts(self, task: TaskSpec) -> torch.Tensor:
        """This rank's (samples, top-1 hits, top-5 hits), ``(3,)`` int64."""
        world = self.communicator.world
        plan = plan_epoch(task.test, self.batch_size, world.rank, world.num_ranks, self.limit_batches)
        counts = torch.zeros(3, dtype=torch.int64)
        for loaded in self.loader.minibatches(plan.steps, seed=None):
            if len(loaded.labels) == 0:
                continue
            outputs = self.model(self.preprocess.evaluate(loaded.inputs.to(self.device)))
            ranked = outputs.topk(min(5, outputs.shape[1]), dim=1).indices.cpu()
            hits = ranked == loaded.labels[:, None]
            counts += torch.stack([torch.tensor(len(hits)), hits[:, 0].sum(), hits.sum()])
        return counts
