"""One rank: everything is local."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rehearse.communicators._optimizer import LocalOptimizer
from rehearse.communicators._wire import check_reducible, pack_header
from rehearse.core.config import PluginConfig
from rehearse.core.errors import ConfigError
from rehearse.core.failure import end_process
from rehearse.core.protocols import Communicator, DistributedOptimizer, ReduceOp
from rehearse.core.registry import register
from rehearse.core.world import World


@register
class Single(Communicator):
    """A group of one; needs no library and refuses what the others refuse."""

    class Config(PluginConfig):
        """No options."""

    def __init__(self, config: PluginConfig, world: World) -> None:
        """Check that there are no other ranks.

        Raises:
            ConfigError: A launcher started several ranks.
        """
        if world.num_ranks != 1:
            raise ConfigError(
                f"communicator single serves one rank, but {world.launcher} started {world.num_ranks}; "
                "set communicator.name to horovod or torch"
            )
        self.world = world

    def allreduce(self, tensor: Tensor, op: ReduceOp = "mean") -> Tensor:
        """A copy of the tensor."""
        check_reducible(tensor.dtype, op)
        return tensor.detach().clone()

    def broadcast(self, tensor: Tensor, root: int = 0) -> None:
        """Leave the tensor as it is."""

    def gather_objects(self, value: Any) -> list[Any]:
        """The value alone."""
        return [value]

    def gather_rows(self, rows: Tensor) -> list[Tensor]:
        """A copy of the rows alone."""
        pack_header(rows)
        return [rows.detach().clone()]

    def barrier(self) -> None:
        """Nobody to wait for."""

    def wrap_optimizer(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> DistributedOptimizer:
        """The optimiser behind the interface of the others."""
        return LocalOptimizer(optimizer)

    def abort(self, exit_code: int) -> None:
        """End this process at once."""
        end_process(exit_code)

    def close(self) -> None:
        """Nothing to leave."""
