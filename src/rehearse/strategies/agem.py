"""A-GEM: never step where the loss on the past would grow.

Chaudhry et al., «Efficient Lifelong Learning with A-GEM», ICLR 2019, equation 11. Both gradients
are averaged over ranks before the projection, so that ranks project alike.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from rehearse.core.batch import Batch
from rehearse.core.config import PluginConfig
from rehearse.core.protocols import Strategy
from rehearse.core.registry import register


class AgemConfig(PluginConfig):
    """A-GEM has no options of its own; see the buffer's."""

    name: Literal["agem"] = "agem"


@register
class Agem(Strategy):
    """Mean loss over the minibatch; its gradient is projected where it opposes that of the representatives."""

    Config = AgemConfig
    rehearses = True

    def loss(self, minibatch: Batch, draws: tuple[Batch, ...]) -> Tensor:
        (self._representatives,) = draws
        return self.mean_loss(minibatch)

    def adjust_gradients(self) -> None:
        """Replace g by g - (g·g_ref / g_ref·g_ref) g_ref if g·g_ref < 0; collective."""
        if self._representatives.num_global == 0:
            return
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        reference = self._reference_gradient(parameters)
        gradient = torch.cat([_gradient_of(parameter).flatten() for parameter in parameters])
        agreement = torch.dot(gradient, reference)
        if agreement >= 0:
            return
        gradient -= agreement / torch.dot(reference, reference) * reference
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, part in zip(parameters, gradient.split(sizes), strict=True):
            _gradient_of(parameter).copy_(part.view_as(parameter))

    def _reference_gradient(self, parameters: list[torch.nn.Parameter]) -> Tensor:
        """Gradient of the loss on the representatives of all ranks, flat; the parameters keep theirs."""
        parts = torch.autograd.grad(
            self.mean_loss(self._representatives), parameters, allow_unused=True, materialize_grads=True
        )
        return self.communicator.allreduce(torch.cat([part.flatten() for part in parts]))


def _gradient_of(parameter: torch.nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
