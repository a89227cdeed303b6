"""What strategies that replay stored logits share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from rehearse.core.batch import Batch
from rehearse.core.config import Float, PluginConfig
from rehearse.core.protocols import RecordField, Strategy


class DistillationConfig(PluginConfig):
    """Options of strategies that replay stored logits."""

    alpha: Float = Field(default=0.5, ge=0, description="Weight of the distance to the stored logits.")
    logits_dtype: Literal["float32", "float16", "bfloat16"] = Field(
        default="float32", description="How logits are stored."
    )


class DistillingStrategy(Strategy):
    """Stores with each sample the logits that the network gives it in the step that offers it."""

    config: DistillationConfig
    rehearses = True
    stores = frozenset({"logits"})
    _logits: Tensor

    def stored_fields(self, output_shape: tuple[int, ...]) -> Mapping[str, RecordField]:
        return {"logits": RecordField(dtype=self.config.logits_dtype, shape=output_shape)}

    def stored(self) -> Mapping[str, Tensor]:
        return {"logits": self._logits.to(getattr(torch, self.config.logits_dtype))}

    def distance(self, representatives: Batch) -> Tensor:
        """Mean squared error between outputs and stored logits, over the representatives of all ranks.

        The mean over a sample's logits rather than their sum, as in the authors' code, for which the
        published values of alpha hold.

        Args:
            representatives: Samples with ``targets["logits"]``, ``(r, *shape)`` like the network's outputs.
        """
        outputs = self.outputs(representatives)
        errors = (outputs - representatives.targets["logits"].to(outputs.dtype)).square()
        return representatives.mean(errors.flatten(1).mean(1))
