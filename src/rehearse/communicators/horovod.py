"""Horovod: over MPI under mpirun and srun, over Gloo under horovodrun, over NCCL between GPUs."""

from __future__ import annotations

import importlib
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from rehearse.communicators._group import GroupCommunicator, GroupConfig, WireOp
from rehearse.core.config import PluginConfig
from rehearse.core.errors import CommunicationError, MissingDependencyError
from rehearse.core.registry import register
from rehearse.core.world import World

_INSTALL = "make setup (it builds Horovod against the installed torch)"
# Horovod reads its settings from the environment when it starts.
_SETTINGS = {"HOROVOD_FUSION_THRESHOLD": "0", "HOROVOD_AUTOTUNE": "0"}
_POLL_S = 1e-4


@register
class Horovod(GroupCommunicator):
    """Ranks joined by Horovod.

    Horovod fuses tensors that happen to be ready together, and tunes itself, so that sums of three
    or more ranks would depend on timing. Both are off: gradients travel in fixed buckets of ours.
    """

    class Config(GroupConfig):
        """How gradients travel."""

    def __init__(self, config: PluginConfig, world: World) -> None:
        """Join the other ranks.

        Raises:
            MissingDependencyError: Horovod is not installed, or lacks torch or the launcher's controller.
            CommunicationError: The other ranks do not answer, or Horovod sees another world.
        """
        super().__init__(config, world)
        assert isinstance(config, Horovod.Config)
        self._hvd = _load(world)
        _check_hostname(world)
        os.environ.update(_SETTINGS)
        # A lost peer is told in one line of ours; HOROVOD_LOG_LEVEL=warning shows Horovod's own.
        os.environ.setdefault("HOROVOD_LOG_LEVEL", "fatal")
        with self._joining():
            self._hvd.init()
        self._ops = {"sum": self._hvd.Sum, "min": self._hvd.Min, "max": self._hvd.Max}
        found = (self._hvd.rank(), self._hvd.size())
        if found != (world.rank, world.num_ranks):
            raise CommunicationError(
                f"Horovod sees rank {found[0]} of {found[1]}, {world.launcher} started rank {world.rank} of "
                f"{world.num_ranks}: start the ranks with horovodrun, with the mpirun of the MPI that Horovod was "
                "built with, or with srun --mpi=pmix; or set communicator.name to torch"
            )

    def close(self) -> None:
        """Leave the group in order."""
        self.barrier()
        self._hvd.shutdown()

    def _start_reduce(self, flat: Tensor, op: WireOp, name: str) -> Callable[[], None]:
        handle = self._hvd.allreduce_async_(flat, op=self._ops[op], name=name)

        def wait() -> None:
            self._wait(handle)

        return wait

    def _broadcast_bytes(self, payload: Tensor, root: int) -> None:
        self._wait(self._hvd.broadcast_async_(payload, root, name="broadcast"))

    def _gather_bytes(self, payload: Tensor, sizes: list[int], name: str) -> list[Tensor]:
        return list(self._wait(self._hvd.allgather_async(payload, name=name)).split(sizes))

    def _wait(self, handle: int) -> Tensor:
        """The result of an operation.

        Horovod's own wait keeps a core busy, knows no time limit and cannot be interrupted.
        """
        end_s = time.monotonic() + self.config.timeout_s
        while not self._hvd.poll(handle):
            if time.monotonic() > end_s:
                raise RuntimeError(f"no answer for {self.config.timeout_s:g} s")
            time.sleep(_POLL_S)
        result: Tensor = self._hvd.synchronize(handle)
        return result


def _load(world: World) -> Any:
    """The ``horovod.torch`` module, checked for what the launcher needs."""
    try:
        hvd = importlib.import_module("horovod.torch")
    except ImportError as error:
        raise MissingDependencyError("Horovod", "communicator horovod", _INSTALL) from error
    if not hasattr(hvd, "init"):
        raise MissingDependencyError("Horovod with PyTorch", "communicator horovod", _INSTALL)
    if world.launcher == "horovodrun" and not hvd.gloo_built():
        raise MissingDependencyError("Horovod with Gloo", "communicator horovod under horovodrun", _INSTALL)
    if world.launcher != "horovodrun" and not hvd.mpi_built():
        raise MissingDependencyError("Horovod with MPI", f"communicator horovod under {world.launcher}", _INSTALL)
    return hvd


def _check_hostname(world: World) -> None:
    """Horovod's copy of Gloo crashes where the host does not know its own name, even bound to an interface."""
    if world.launcher != "horovodrun":
        return
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        raise CommunicationError(
            f"this host's name, {name}, does not resolve, which Horovod over Gloo needs: "
            "add it to /etc/hosts, launch with mpirun, or set communicator.name to torch"
        ) from None
