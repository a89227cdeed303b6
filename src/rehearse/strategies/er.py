"""Experience replay: train on the minibatch and representatives of the past together.

Chaudhry et al., «On Tiny Episodic Memories in Continual Learning», 2019, with the augmented
minibatch of Bouvier et al., CCGrid 2024.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from rehearse.core.batch import Batch
from rehearse.core.config import PluginConfig
from rehearse.core.protocols import Strategy
from rehearse.core.registry import register


class ErConfig(PluginConfig):
    """Experience replay has no options of its own; see the buffer's."""

    name: Literal["er"] = "er"


@register
class Er(Strategy):
    """Mean loss over the b + r samples of the augmented minibatch, uniform weights."""

    Config = ErConfig
    rehearses = True

    def loss(self, minibatch: Batch, draws: tuple[Batch, ...]) -> Tensor:
        (representatives,) = draws
        return self.mean_loss(minibatch.concat(representatives))
