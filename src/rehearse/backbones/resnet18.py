"""ResNet-18 (He et al., CVPR 2016), with the usual stem for small images where they are small."""

from __future__ import annotations

from typing import Literal

from torch import nn

from rehearse.backbones._resnet import REGIME, ResNetConfig, build_resnet
from rehearse.core.config import PluginConfig
from rehearse.core.protocols import Backbone
from rehearse.core.registry import register


class ResNet18Config(ResNetConfig):
    """Options of ResNet-18."""

    name: Literal["resnet18"] = "resnet18"


@register
class ResNet18(Backbone):
    """timm's ResNet-18."""

    Config = ResNet18Config
    regime = REGIME

    @classmethod
    def build(cls, config: PluginConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        assert isinstance(config, ResNet18Config)
        return build_resnet("resnet18", config, input_shape, num_classes)
