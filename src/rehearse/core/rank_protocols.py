"""What communicators promise: how ranks talk and average their gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from rehearse.core.config import PluginConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from rehearse.core.world import World

ReduceOp = Literal["mean", "sum", "min", "max"]


class DistributedOptimizer(Protocol):
    """An optimiser whose gradients are averaged over ranks before it steps."""

    param_groups: list[dict[str, Any]]

    def synchronize(self) -> None:
        """Wait until every gradient is the mean over ranks."""

    def accumulate(self) -> AbstractContextManager[None]:
        """Backward passes inside add to the gradients; the pass that ends the step comes after."""

    def step(self) -> None:
        """Update the parameters with the averaged gradients."""

    def zero_grad(self) -> None:
        """Forget the gradients."""

    def reset_state(self) -> None:
        """Forget momentum and every other state, as a new optimiser would."""

    def state_dict(self) -> dict[str, Any]:
        """State of the wrapped optimiser."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of the wrapped optimiser."""


class Communicator(ABC):
    """How ranks talk. Every method is collective: all ranks call it in the same order.

    A lost peer raises CommunicationError, within seconds, on every surviving rank.
    """

    Config: ClassVar[type[PluginConfig]]
    world: World

    @abstractmethod
    def __init__(self, config: PluginConfig, world: World) -> None:
        """Join the other ranks.

        Raises:
            MissingDependencyError: The library behind it is not installed.
            CommunicationError: The other ranks do not answer.
        """

    @abstractmethod
    def allreduce(self, tensor: Tensor, op: ReduceOp = "mean") -> Tensor:
        """Reduce over ranks; a new tensor, bit-identical on all ranks, same shape and dtype."""

    @abstractmethod
    def broadcast(self, tensor: Tensor, root: int = 0) -> None:
        """Overwrite the tensor in place with the root's."""

    @abstractmethod
    def gather_objects(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order, on every rank."""

    @abstractmethod
    def gather_rows(self, rows: Tensor) -> list[Tensor]:
        """Every rank's rows, in rank order, on every rank; first dimensions may differ, 0 included."""

    @abstractmethod
    def barrier(self) -> None:
        """Wait for all ranks."""

    @abstractmethod
    def wrap_optimizer(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> DistributedOptimizer:
        """Average gradients over ranks while the backward pass runs."""

    @abstractmethod
    def abort(self, exit_code: int) -> None:
        """End this process at once, so that no peer waits for it; the launcher ends the others."""

    @abstractmethod
    def close(self) -> None:
        """Leave the group in order."""
