"""Vanilla: plain training on the current task, the bounds that every other strategy lies between.

Incremental (lower bound) with no option; from scratch (upper bound) with ``reset_state_dict`` and
concatenated tasksets; transfer with concatenated tasksets alone.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from rehearse.core.batch import Batch
from rehearse.core.config import PluginConfig
from rehearse.core.protocols import Strategy
from rehearse.core.registry import register


class VanillaConfig(PluginConfig):
    """Options of the vanilla strategy."""

    name: Literal["vanilla"] = "vanilla"
    reset_state_dict: bool = Field(default=False, description="Start each task from the initial weights.")


@register
class Vanilla(Strategy):
    """Mean loss over the minibatch."""

    Config = VanillaConfig
    config: VanillaConfig
    draws = ()

    @property
    def reinitializes(self) -> bool:
        return self.config.reset_state_dict

    def loss(self, minibatch: Batch, draws: tuple[Batch, ...]) -> Tensor:
        return self.mean_loss(minibatch)
