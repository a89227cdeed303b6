"""EfficientNetV2 small (Tan and Le, ICML 2021)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from rehearse.backbones._timm import create
from rehearse.core.config import Float, PluginConfig
from rehearse.core.experiment import Phase, Regime
from rehearse.core.protocols import Backbone
from rehearse.core.registry import register


class EfficientNetV2Config(PluginConfig):
    """Options of the network."""

    name: Literal["efficientnetv2"] = "efficientnetv2"
    dropout: Float = Field(default=0.225, ge=0, lt=1, description="Dropout before the head.")


@register
class EfficientNetV2(Backbone):
    """timm's ``efficientnetv2_s``."""

    Config = EfficientNetV2Config
    regime = Regime(
        optimizer="RMSprop",
        weight_decay=1.5e-5,
        options={"alpha": 0.9, "eps": 1e-3},
        phases=(Phase(epoch=0, shape="cosine"),),
    )

    @classmethod
    def build(cls, config: PluginConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        assert isinstance(config, EfficientNetV2Config)
        return create("efficientnetv2_s", input_shape, num_classes, drop_rate=config.dropout)
