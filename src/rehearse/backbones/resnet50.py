"""ResNet-50 (He et al., CVPR 2016), with the usual stem for small images where they are small."""

from __future__ import annotations

from typing import Literal

from torch import nn

from rehearse.backbones._resnet import REGIME, ResNetConfig, build_resnet
from rehearse.core.config import PluginConfig
from rehearse.core.protocols import Backbone
from rehearse.core.registry import register


class ResNet50Config(ResNetConfig):
    """Options of ResNet-50."""

    name: Literal["resnet50"] = "resnet50"


@register
class ResNet50(Backbone):
    """timm's ResNet-50."""

    Config = ResNet50Config
    regime = REGIME

    @classmethod
    def build(cls, config: PluginConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        assert isinstance(config, ResNet50Config)
        return build_resnet("resnet50", config, input_shape, num_classes)
