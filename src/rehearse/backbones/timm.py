"""Any image classifier of timm, as ``timm:<name>``, for example ``timm:vit_tiny_patch16_224``."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import nn

from rehearse.core.config import PluginConfig
from rehearse.core.errors import ConfigError
from rehearse.core.experiment import Phase, Regime
from rehearse.core.protocols import Backbone
from rehearse.core.registry import register, suggestion
from rehearse.core.torchvision_shim import ensure_torchvision


class TimmConfig(PluginConfig):
    """Which network of timm, and arguments of its constructor."""

    name: str = Field(pattern=r"^timm:.+$", description="`timm:` and the network's name there.")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Passed to timm's create_model, such as drop_rate."
    )


@register
class Timm(Backbone):
    """A randomly initialised network of timm."""

    Config = TimmConfig
    regime = Regime(optimizer="SGD", momentum=0.9, weight_decay=5e-5, phases=(Phase(epoch=0, shape="cosine"),))

    @classmethod
    def build(cls, config: PluginConfig, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        assert isinstance(config, TimmConfig)
        ensure_torchvision()
        import timm

        name = config.name.removeprefix("timm:")
        if not timm.is_model(name):
            raise ConfigError(f"timm has no network {name!r}{suggestion(name, tuple(timm.list_models()))}")
        arguments = {"num_classes": num_classes, "in_chans": input_shape[0], **config.arguments}
        if "img_size" not in arguments and _takes_image_size(name):
            arguments["img_size"] = input_shape[1:]
        try:
            network: nn.Module = timm.create_model(name, **arguments)
        except (TypeError, ValueError, AssertionError) as error:
            raise ConfigError(f"timm:{name} cannot be built for inputs {input_shape}: {error}") from error
        return network


def _takes_image_size(name: str) -> bool:
    """Transformers fix the image size when they are built; convolutional networks take any."""
    return name.startswith(("vit_", "deit_", "swin_"))
