"""ResNet-18 (He et al., CVPR 2016), with the usual stem for small images where they are small."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from rehearse.core.config import PluginConfig
from rehearse.core.experiment import Phase, Regime
from rehearse.core.protocols import Backbone
from rehearse.core.registry import register
from rehearse.core.torchvision_shim import ensure_torchvision

SMALL_IMAGE_PIXELS = 64


class ResNet18Config(PluginConfig):
    """Options of ResNet-18."""

    name: Literal["resnet18"] = "resnet18"
    stem: Literal["auto", "imagenet", "small"] = Field(
        default="auto",
        description="imagenet: 7×7 stride 2 and pooling; small: 3×3 stride 1; auto: small up to 64 pixels.",
    )


@register
class ResNet18(Backbone):
    """timm's ResNet-18."""

    Config = ResNet18Config
    regime = Regime(
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

    @classmethod
    def build(cls, config: PluginConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        assert isinstance(config, ResNet18Config)
        ensure_torchvision()
        import timm

        network: nn.Module = timm.create_model("resnet18", num_classes=num_classes, in_chans=input_shape[0])
        small = config.stem == "small" or (config.stem == "auto" and max(input_shape[1:]) <= SMALL_IMAGE_PIXELS)
        if small:
            stem = nn.Conv2d(input_shape[0], 64, kernel_size=3, padding=1, bias=False)
            nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
            network.conv1, network.maxpool = stem, nn.Identity()
        return network
