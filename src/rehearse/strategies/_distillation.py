"""What strategies that replay stored logits share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from rehearse.core.batch import Batch
from rehearse.core.config import Float, PluginConfig

LogitsDtype = Literal["float32", "float16", "bfloat16"]


class DistillationConfig(PluginConfig):
    """Options of strategies that replay stored logits."""

    alpha: Float = Field(default=0.5, ge=0, description="Weight of the distance to the stored logits.")
    logits_dtype: LogitsDtype = Field(default="float32", description="How logits are stored.")


def distance(outputs: Tensor, representatives: Batch) -> Tensor:
    """Mean squared error between outputs and stored logits, over the representatives of all ranks.

    The mean over a sample's logits rather than their sum, as in the authors' code, for which the
    published values of alpha hold.

    Args:
        outputs: ``(r, *shape)`` of the network now.
        representatives: r samples with ``targets["logits"]`` of the same shape.
    """
    errors = (outputs - representatives.targets["logits"].to(outputs.dtype)).square()
    return representatives.mean(errors.flatten(1).mean(1))
