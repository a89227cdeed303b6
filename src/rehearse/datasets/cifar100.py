"""CIFAR-100: 32 × 32 colour images of 100 fine classes."""

from __future__ import annotations

from typing import Any

from rehearse.core.registry import register
from rehearse.datasets._cifar import CifarDataset
from rehearse.datasets._sources import Layout


@register
class Cifar100(CifarDataset):
    """Mean and deviation are the published ones."""

    num_classes = 100
    pickles = "cifar-100-python"
    layout = Layout(
        trees=((pickles,), ("train/apple*", "test/apple*", "train/worm*", "test/worm*")),
        archives=("cifar-100[-_.]*", "cifar100[-_.]*"),
    )
    mean = (0.5071, 0.4865, 0.4409)
    std = (0.2673, 0.2564, 0.2762)

    @classmethod
    def reader(cls) -> Any:
        from torchvision.datasets import CIFAR100

        return CIFAR100
