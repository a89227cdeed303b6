"""CIFAR-10: 32 × 32 colour images of 10 classes."""

from __future__ import annotations

from typing import Any

from rehearse.core.registry import register
from rehearse.datasets._cifar import CifarDataset
from rehearse.datasets._sources import Layout


@register
class Cifar10(CifarDataset):
    """Mean and deviation are the published ones."""

    num_classes = 10
    pickles = "cifar-10-batches-py"
    layout = Layout(
        trees=((pickles,), ("train/airplane*", "test/airplane*", "train/truck*", "test/truck*")),
        archives=("cifar-10[-_.]*", "cifar10[-_.]*"),
    )
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)

    @classmethod
    def reader(cls) -> Any:
        from torchvision.datasets import CIFAR10

        return CIFAR10
