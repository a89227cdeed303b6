"""Batch normalisation where ranks hold different samples."""

from __future__ import annotations

from weakref import WeakSet

from torch import Tensor, nn

from rehearse.core.protocols import Communicator


def average_running_statistics(model: nn.Module, communicator: Communicator) -> None:
    """Replace each floating-point buffer by its mean over ranks, so that all ranks evaluate one model."""
    if communicator.world.num_ranks == 1:
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(communicator.allreduce(buffer, "mean"))


def tolerate_lone_samples(model: nn.Module) -> None:
    """Normalise with the running statistics where a channel has one value only.

    The last minibatch of an epoch may hold one sample, whose own variance is undefined for 1×1
    feature maps; torch refuses it. The sample is still trained.
    """
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.register_forward_pre_hook(_use_running_statistics)
            layer.register_forward_hook(_use_own_statistics, always_call=True)


_lone: WeakSet[nn.Module] = WeakSet()


def _use_running_statistics(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if layer.training and inputs[0].numel() == layer.num_features:
        layer.training = False
        _lone.add(layer)


def _use_own_statistics(layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
    if layer in _lone:
        layer.training = True
        _lone.remove(layer)
