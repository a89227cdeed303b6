"""Networks of timm, freshly initialised."""

from __future__ import annotations

from typing import Any

from torch import nn

from rehearse.core.torchvision_shim import ensure_torchvision


def create(name: str, input_shape: tuple[int, ...], num_classes: int, **arguments: Any) -> nn.Module:
    """A network by its name in timm.

    Args:
        name: Name in timm.
        input_shape: ``(C, H, W)`` of one image.
        num_classes: Width of the head.
        arguments: Further ones of timm's ``create_model``.
    """
    ensure_torchvision()
    import timm

    network: nn.Module = timm.create_model(name, num_classes=num_classes, in_chans=input_shape[0], **arguments)
    return network
