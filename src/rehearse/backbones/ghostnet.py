"""GhostNet at half width (Han et al., CVPR 2020)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from rehearse.backbones._timm import create
from rehearse.core.config import Float, PluginConfig
from rehearse.core.experiment import Phase, Regime
from rehearse.core.protocols import Backbone
from rehearse.core.registry import register


class GhostNetConfig(PluginConfig):
    """Options of the network."""

    name: Literal["ghostnet"] = "ghostnet"
    dropout: Float = Field(default=0.225, ge=0, lt=1, description="Dropout before the head.")


@register
class GhostNet(Backbone):
    """timm's ``ghostnet_050``."""

    Config = GhostNetConfig
    regime = Regime(
        weight_decay=1.5e-5,
        phases=(
            Phase(epoch=0),
            Phase(epoch=15, lr_factor=0.5),
            Phase(epoch=21, lr_factor=0.05),
            Phase(epoch=28, lr_factor=0.01),
        ),
    )

    @classmethod
    def build(cls, config: PluginConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        assert isinstance(config, GhostNetConfig)
        return create("ghostnet_050", input_shape, num_classes, drop_rate=config.dropout)
