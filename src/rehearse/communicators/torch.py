"""torch.distributed: gloo between hosts, NCCL between GPUs."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

import torch
import torch.distributed as dist
from pydantic import Field
from torch import Tensor

from rehearse.communicators._group import GroupCommunicator, GroupConfig, WireOp
from rehearse.communicators._rendezvous import open_store
from rehearse.core.config import PluginConfig
from rehearse.core.errors import ConfigError
from rehearse.core.registry import register
from rehearse.core.world import World


@register
class Torch(GroupCommunicator):
    """Ranks joined by torch.distributed.

    Host tensors always travel by gloo. On one node gloo is bound to the loopback interface unless
    GLOO_SOCKET_IFNAME names another; between nodes it takes the interface that the hostname
    resolves to.
    """

    class Config(GroupConfig):
        """How tensors travel."""

        backend: Literal["auto", "gloo", "nccl"] = Field(
            default="auto", description="How device tensors travel; auto takes nccl where there is a CUDA device."
        )

    def __init__(self, config: PluginConfig, world: World) -> None:
        """Join the other ranks.

        Raises:
            ConfigError: NCCL is asked for, but torch sees no CUDA device.
            CommunicationError: The other ranks do not answer.
        """
        super().__init__(config, world)
        assert isinstance(config, Torch.Config)
        backend = _backend(config.backend)
        if world.num_nodes == 1 and "lo" in (name for _, name in socket.if_nameindex()):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        timeout = timedelta(seconds=config.timeout_s)
        with self._joining():
            dist.init_process_group(
                backend,
                store=open_store(world, os.environ, timeout),
                rank=world.rank,
                world_size=world.num_ranks,
                timeout=timeout,
            )

    def close(self) -> None:
        """Leave the group in order."""
        self.barrier()
        dist.destroy_process_group()

    def _start_reduce(self, flat: Tensor, op: WireOp, name: str) -> Callable[[], None]:
        work = dist.all_reduce(flat, op=_OPS[op], async_op=True)

        def wait() -> None:
            work.wait()

        return wait

    def _broadcast_bytes(self, payload: Tensor, root: int) -> None:
        dist.broadcast(payload, src=root)

    def _gather_bytes(self, payload: Tensor, sizes: list[int], name: str) -> list[Tensor]:
        # Backends gather equal sizes only, so shorter payloads travel padded.
        padded = torch.zeros(max(sizes), dtype=torch.uint8, device=payload.device)
        padded[: payload.numel()] = payload
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return [part[:size] for part, size in zip(parts, sizes, strict=True)]


_OPS = {"sum": dist.ReduceOp.SUM, "min": dist.ReduceOp.MIN, "max": dist.ReduceOp.MAX}


def _backend(wanted: str) -> str:
    available = torch.cuda.is_available() and dist.is_nccl_available()
    if wanted == "nccl" and not available:
        raise ConfigError("communicator.backend is nccl, but torch sees no CUDA device with NCCL; use auto or gloo")
    return "gloo" if wanted == "gloo" or not available else "cpu:gloo,cuda:nccl"
