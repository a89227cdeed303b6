"""Samples on their way through a training step.

The one module of ``core`` that loads torch; nothing that the Snakefile imports depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one rank, and how many samples all ranks hold together in the same step.

    Attributes:
        inputs: ``(n, *shape)``, the dataset's dtype until the device, float afterwards.
        labels: ``(n,)`` int64, class labels; task ids for reconstruction.
        num_global: Samples of all ranks together.
        num_ranks: Number of ranks.
        targets: Further tensors with n rows: what a reconstruction predicts, stored logits.
        indices: ``(n,)`` int64 positions in the training set; None for representatives.
    """

    inputs: Tensor
    labels: Tensor
    num_global: int
    num_ranks: int = 1
    targets: dict[str, Tensor] = field(default_factory=dict)
    indices: Tensor | None = None

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the samples of all ranks, as this rank's share of it.

        Averaging the shares' gradients over ranks gives the gradient of the mean over all
        samples, also where ranks hold different numbers of samples.

        Args:
            values: ``(n,)`` one number per sample.
        """
        return values.sum() * (self.num_ranks / max(self.num_global, 1))

    def concat(self, other: Self) -> Self:
        """The augmented minibatch: these samples followed by the other's; nothing is copied that lies so already."""
        if len(other) == 0 and other.num_global == 0:
            return self
        return replace(
            self,
            inputs=joined(self.inputs, other.inputs),
            labels=joined(self.labels, other.labels),
            targets={name: joined(rows, other.targets[name]) for name, rows in self.targets.items()},
            num_global=self.num_global + other.num_global,
            indices=None,
        )

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Apply a function, such as a move to a device, to every tensor."""
        return replace(
            self,
            inputs=function(self.inputs),
            labels=function(self.labels),
            targets={name: function(rows) for name, rows in self.targets.items()},
        )


def joined(first: Tensor, second: Tensor) -> Tensor:
    """The rows of both, ``(n + m, *shape)``: a view where the second's follow the first's in memory, else a copy."""
    if not _follows(first, second):
        return torch.cat([first, second])
    return first.as_strided((len(first) + len(second), *first.shape[1:]), first.stride())


def _follows(first: Tensor, second: Tensor) -> bool:
    return (
        first.dtype == second.dtype
        and first.shape[1:] == second.shape[1:]
        and first.is_contiguous()
        and second.is_contiguous()
        and first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()
        and second.storage_offset() == first.storage_offset() + first.numel()
    )
