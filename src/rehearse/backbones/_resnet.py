"""What the residual networks share: timm's model, and a stem for small images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from rehearse.backbones._timm import create
from rehearse.core.config import PluginConfig
from rehearse.core.experiment import Phase, Regime

SMALL_IMAGE_PIXELS = 64

REGIME = Regime(
    optimizer="SGD",
    momentum=0.9,
    weight_decay=5e-5,
    of_epochs=30,
    phases=(
        Phase(epoch=0),
        Phase(epoch=21, lr_factor=0.5),
        Phase(epoch=26, lr_factor=0.05),
        Phase(epoch=28, lr_factor=0.01),
    ),
)


class ResNetConfig(PluginConfig):
    """Options of the residual networks."""

    stem: Literal["auto", "imagenet", "small"] = Field(
        default="auto",
        description="imagenet: 7×7 stride 2 and pooling; small: 3×3 stride 1; auto: small up to 64 pixels.",
    )


def build_resnet(name: str, config: ResNetConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A residual network of timm, with the usual stem for small images where they are small."""
    network = create(name, input_shape, num_classes)
    small = config.stem == "small" or (config.stem == "auto" and max(input_shape[1:]) <= SMALL_IMAGE_PIXELS)
    if small:
        stem = nn.Conv2d(input_shape[0], 64, kernel_size=3, padding=1, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        network.conv1, network.maxpool = stem, nn.Identity()
    return network
