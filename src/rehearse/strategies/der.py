"""Dark experience replay: stay close to what the network said when it saw the past.

Buzzega et al., «Dark Experience for General Continual Learning: a Strong, Simple Baseline»,
NeurIPS 2020, equation 5.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from rehearse.core.batch import Batch
from rehearse.core.registry import register
from rehearse.strategies._distillation import DistillationConfig, DistillingStrategy


class DerConfig(DistillationConfig):
    """Options of dark experience replay."""

    name: Literal["der"] = "der"


@register
class Der(DistillingStrategy):
    """Mean loss over the minibatch + alpha · distance to the representatives' logits at insertion."""

    Config = DerConfig
    config: DerConfig
    draws = ("distillation",)

    def loss(self, minibatch: Batch, draws: tuple[Batch, ...]) -> Tensor:
        (past,) = draws
        outputs = self.outputs(minibatch)
        self._logits = outputs.detach()
        return minibatch.mean(self.criterion(outputs, minibatch)) + self.config.alpha * self.distance(past)
