"""Builds the optimiser that a regime names."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rehearse.core.errors import ConfigError
from rehearse.core.experiment import Regime


def build_optimizer(model: nn.Module, regime: Regime, lr: float) -> torch.optim.Optimizer:
    """An optimiser over the parameters that are trained.

    Raises:
        ConfigError: An option that the optimiser does not know.
    """
    arguments: dict[str, Any] = {"lr": lr, "weight_decay": regime.weight_decay, **regime.options}
    if regime.optimizer in ("SGD", "RMSprop"):
        arguments["momentum"] = regime.momentum
    kind: type[torch.optim.Optimizer] = getattr(torch.optim, regime.optimizer)
    try:
        return kind([p for p in model.parameters() if p.requires_grad], **arguments)
    except TypeError as error:
        raise ConfigError(f"training.regime.options: {regime.optimizer} {error}") from error
