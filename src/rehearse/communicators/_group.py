"""Collectives of several ranks, built from three primitives that a backend provides."""

from __future__ import annotations

import math
import pickle
import re
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rehearse.communicators._optimizer import BucketedOptimizer
from rehearse.communicators._wire import (
    INLINE_BYTES,
    check_reducible,
    from_bytes,
    pack_header,
    read_header,
    to_bytes,
    wire_dtype,
)
from rehearse.core.config import Float, PluginConfig
from rehearse.core.errors import CommunicationError
from rehearse.core.failure import end_process
from rehearse.core.protocols import Communicator, DistributedOptimizer, ReduceOp
from rehearse.core.world import World

WireOp = Literal["sum", "min", "max"]


class GroupConfig(PluginConfig):
    """Options of every communicator of several ranks."""

    timeout_s: Float = Field(
        default=600, gt=0, description="A peer that takes no part in an operation for so long is lost, in s."
    )
    bucket_mib: Float = Field(default=25, gt=0, description="Gradients are averaged in buckets of about this size.")


class GroupCommunicator(Communicator):
    """What all backends share; a backend adds the primitives.

    Collectives belong to one thread: that which trains.
    """

    def __init__(self, config: PluginConfig, world: World) -> None:
        assert isinstance(config, GroupConfig)
        self.config = config
        self.world = world
        self._num_optimizers = 0

    def allreduce(self, tensor: Tensor, op: ReduceOp = "mean") -> Tensor:
        """Reduce over ranks; a new tensor, bit-identical on all ranks, same shape and dtype.

        Half precision is reduced in float32, small integers in int32.

        Raises:
            ValueError: The dtype cannot hold the result, such as a mean of integers.
            CommunicationError: A peer was lost.
        """
        check_reducible(tensor.dtype, op)
        wire = tensor.detach().reshape(-1).to(wire_dtype(tensor.dtype), copy=True)
        if wire.numel():
            self._start("allreduce", wire, "sum" if op == "mean" else op, f"allreduce.{op}.{wire.dtype}")()
        if op == "mean":
            wire /= self.world.num_ranks
        return wire.view(tensor.shape).to(tensor.dtype)

    def broadcast(self, tensor: Tensor, root: int = 0) -> None:
        """Overwrite the tensor in place with the root's.

        Raises:
            CommunicationError: A peer was lost.
        """
        payload = to_bytes(tensor)
        if payload.numel():
            with self._operation("broadcast"):
                self._broadcast_bytes(payload, root)
        if not tensor.is_contiguous():
            tensor.detach().copy_(from_bytes(payload, tensor.dtype, tuple(tensor.shape)))

    def gather_objects(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order, on every rank; anything that can be pickled.

        Raises:
            CommunicationError: A peer was lost.
        """
        payload = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)
        return [pickle.loads(part.numpy().tobytes()) for part in self.gather_rows(payload)]

    def gather_rows(self, rows: Tensor) -> list[Tensor]:
        """Every rank's rows, in rank order, on every rank; first dimensions may differ, 0 included.

        Raises:
            CommunicationError: A peer was lost, or ranks disagree in dtype or row shape.
        """
        header = pack_header(rows)
        with self._operation("gather_rows"):
            headers = self._gather_bytes(header, [header.numel()] * self.world.num_ranks, "gather.header")
        counts = [read_header(peer, rows, rank) for rank, peer in enumerate(headers)]
        sizes = [count * math.prod(rows.shape[1:]) * rows.itemsize for count in counts]
        if max(sizes) <= INLINE_BYTES:
            parts = [peer[-INLINE_BYTES:][:size].to(rows.device) for peer, size in zip(headers, sizes, strict=True)]
        else:
            with self._operation("gather_rows"):
                parts = self._gather_bytes(to_bytes(rows), sizes, "gather.rows")
        return [from_bytes(part, rows.dtype, (n, *rows.shape[1:])) for part, n in zip(parts, counts, strict=True)]

    def barrier(self) -> None:
        """Wait for all ranks.

        Raises:
            CommunicationError: A peer was lost.
        """
        self._start("barrier", torch.zeros(1, dtype=torch.int32), "sum", "barrier")()

    def wrap_optimizer(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> DistributedOptimizer:
        """Average gradients over ranks while the backward pass runs."""
        number = self._num_optimizers
        self._num_optimizers += 1

        def start_sum(flat: Tensor, name: str) -> Callable[[], None]:
            return self._start("averaging gradients", flat, "sum", f"optimizer.{number}.{name}")

        bucket_bytes = int(self.config.bucket_mib * 2**20)
        return BucketedOptimizer(optimizer, model, start_sum, self.world.num_ranks, bucket_bytes)

    def abort(self, exit_code: int) -> None:
        """End this process at once, so that no peer waits for it; the launcher ends the others."""
        end_process(exit_code)

    def _start(self, operation: str, flat: Tensor, op: WireOp, name: str) -> Callable[[], None]:
        with self._operation(operation):
            wait = self._start_reduce(flat, op, name)

        def finish() -> None:
            with self._operation(operation):
                wait()

        return finish

    @contextmanager
    def _operation(self, name: str) -> Iterator[None]:
        """Backends report a lost peer as RuntimeError with a text of their own."""
        start_s = time.monotonic()
        try:
            yield
        except RuntimeError as error:
            reason = _reason(error)
            verdict = "ranks disagree in" if "mismatched" in reason.lower() else "lost a peer in"
            seconds = time.monotonic() - start_s
            raise CommunicationError(f"{verdict} {name} after {seconds:.1f} s: {reason}") from error

    @contextmanager
    def _joining(self) -> Iterator[None]:
        """The same for the start, when there are no peers yet."""
        start_s = time.monotonic()
        try:
            yield
        except RuntimeError as error:
            raise CommunicationError(
                f"the {self.world.num_ranks} ranks did not come together; "
                f"rank {self.world.rank} gave up after {time.monotonic() - start_s:.1f} s: {_reason(error)}"
            ) from error

    @abstractmethod
    def _start_reduce(self, flat: Tensor, op: WireOp, name: str) -> Callable[[], None]:
        """Start to reduce a flat tensor of a wire dtype in place; what it returns waits for the end."""

    @abstractmethod
    def _broadcast_bytes(self, payload: Tensor, root: int) -> None:
        """Overwrite flat uint8 with the root's."""

    @abstractmethod
    def _gather_bytes(self, payload: Tensor, sizes: list[int], name: str) -> list[Tensor]:
        """Every rank's flat uint8 of the given sizes, in rank order."""


def _reason(error: Exception) -> str:
    """What a backend says, without the places in its source before it and the advice to developers behind."""
    said = re.sub(r"^\s*\[[^\]]*\]\s*", "", str(error)) or type(error).__name__
    return re.split(r"\.\s(?:This|These|Check|If)\b|\n", said, maxsplit=1)[0].strip(" .")
