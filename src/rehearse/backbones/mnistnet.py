"""A small convolutional network for small grey or colour images."""

from __future__ import annotations

from typing import Literal

from torch import nn

from rehearse.core.config import PluginConfig
from rehearse.core.errors import ConfigError
from rehearse.core.experiment import Regime
from rehearse.core.protocols import Backbone
from rehearse.core.registry import register


class MnistNetConfig(PluginConfig):
    """The network has no options."""

    name: Literal["mnistnet"] = "mnistnet"


@register
class MnistNet(Backbone):
    """Two convolutions of 32 and 64 channels with pooling, a hidden layer of 50 and the head."""

    Config = MnistNetConfig
    regime = Regime(optimizer="SGD", momentum=0.9)

    @classmethod
    def build(cls, config: PluginConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        channels, height, width = input_shape
        if min(height, width) < 4:
            raise ConfigError(f"mnistnet needs images of at least 4×4 pixels, got {height}×{width}")
        return nn.Sequential(
            nn.Conv2d(channels, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * (height // 4) * (width // 4), 50),
            nn.ReLU(),
            nn.Linear(50, num_classes),
        )
