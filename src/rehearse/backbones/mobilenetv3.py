"""MobileNetV3 small at half width (Howard et al., ICCV 2019)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from rehearse.backbones._timm import create
from rehearse.core.config import PluginConfig
from rehearse.core.experiment import Phase, Regime
from rehearse.core.protocols import Backbone
from rehearse.core.registry import register


class MobileNetV3Config(PluginConfig):
    """The network has no options."""

    name: Literal["mobilenetv3"] = "mobilenetv3"


@register
class MobileNetV3(Backbone):
    """timm's ``mobilenetv3_small_050``."""

    Config = MobileNetV3Config
    regime = Regime(
        optimizer="RMSprop",
        weight_decay=1e-5,
        options={"alpha": 0.9, "eps": 1e-3},
        phases=(
            Phase(epoch=0),
            *(Phase(epoch=epoch, lr_offset=-k * 6.25e-5) for k, epoch in enumerate((8, 12, 16, 22, 26), start=1)),
        ),
    )

    @classmethod
    def build(cls, config: PluginConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return create("mobilenetv3_small_050", input_shape, num_classes)
