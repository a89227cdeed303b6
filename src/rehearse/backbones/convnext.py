"""ConvNeXt base (Liu et al., CVPR 2022)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from rehearse.backbones._timm import create
from rehearse.core.config import Float, PluginConfig
from rehearse.core.errors import ConfigError
from rehearse.core.experiment import Phase, Regime
from rehearse.core.protocols import Backbone
from rehearse.core.registry import register


class ConvNeXtConfig(PluginConfig):
    """Options of the network."""

    name: Literal["convnext"] = "convnext"
    dropout: Float = Field(default=0.5, ge=0, lt=1, description="Dropout before the head.")


@register
class ConvNeXt(Backbone):
    """timm's ``convnext_base``."""

    Config = ConvNeXtConfig
    regime = Regime(optimizer="AdamW", weight_decay=0.05, phases=(Phase(epoch=0, shape="cosine"),))

    @classmethod
    def build(cls, config: PluginConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        assert isinstance(config, ConvNeXtConfig)
        if min(input_shape[1:]) < 32:
            raise ConfigError(f"convnext needs images of at least 32 pixels, got {input_shape[1]}×{input_shape[2]}")
        return create("convnext_base", input_shape, num_classes, drop_rate=config.dropout)
