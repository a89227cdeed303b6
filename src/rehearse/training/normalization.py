"""Batch normalisation where ranks hold different samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from rehearse.core.protocols import Communicator


def average_running_statistics(model: nn.Module, communicator: Communicator) -> None:
    """Replace each floating-point buffer by its mean over ranks, so that all ranks evaluate one model."""
    if communicator.world.num_ranks == 1:
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(communicator.allreduce(buffer, "mean"))


@contextmanager
def usable_statistics(model: nn.Module, num_samples: int) -> Iterator[None]:
    """Normalise a lone sample with the running statistics.

    The last minibatch of an epoch may hold one sample, whose own variance is undefined for 1×1
    feature maps; torch refuses it. The sample is still trained.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    if num_samples != 1:
        layers = []
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer in layers:
            layer.train()


def zero_loss(model: nn.Module) -> torch.Tensor:
    """A loss that gives every parameter a zero gradient, for a rank without samples in a step."""
    return torch.stack([(p * 0).sum() for p in model.parameters() if p.requires_grad]).sum()
