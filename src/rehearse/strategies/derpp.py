"""DER++: dark experience replay that also replays the labels of a second, independent draw.

Buzzega et al., «Dark Experience for General Continual Learning: a Strong, Simple Baseline»,
NeurIPS 2020, equation 6; with ``augmented`` the form of Bouvier et al., FGCS 2025.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from rehearse.core.batch import Batch
from rehearse.core.config import Float
from rehearse.core.registry import register
from rehearse.strategies._distillation import DistillationConfig, DistillingStrategy


class DerppConfig(DistillationConfig):
    """Options of DER++."""

    name: Literal["derpp"] = "derpp"
    beta: Float = Field(default=0.5, ge=0, description="Weight of the loss on the second draw's labels.")
    augmented: bool = Field(
        default=False, description="Train the minibatch and the second draw as one augmented minibatch; beta is unused."
    )


@register
class Derpp(DistillingStrategy):
    """DER's loss + beta · mean loss over a second draw, or over the minibatch augmented by it."""

    Config = DerppConfig
    config: DerppConfig
    draws = ("distillation", "augmentation")

    def loss(self, minibatch: Batch, draws: tuple[Batch, ...]) -> Tensor:
        distilled, replayed = draws
        trained = minibatch.concat(replayed) if self.config.augmented else minibatch
        outputs = self.outputs(trained)
        self._logits = outputs[: len(minibatch)].detach()
        loss = trained.mean(self.criterion(outputs, trained))
        if not self.config.augmented:
            loss = loss + self.config.beta * self.mean_loss(replayed)
        return loss + self.config.alpha * self.distance(distilled)
