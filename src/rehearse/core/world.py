"""Which rank am I: read from whatever launched this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rehearse.core.errors import CommunicationError


@dataclass(frozen=True, slots=True)
class World:
    """One rank's place among all ranks; numbers count from 0.

    Attributes:
        rank: This process among all ranks.
        num_ranks: Number of ranks.
        local_rank: This process among the ranks of its node.
        local_num_ranks: Ranks on this node.
        node: This node among all nodes.
        num_nodes: Number of nodes.
        launcher: What started the ranks, for messages.
    """

    rank: int = 0
    num_ranks: int = 1
    local_rank: int = 0
    local_num_ranks: int = 1
    node: int = 0
    num_nodes: int = 1
    launcher: str = "none"

    @property
    def is_leader(self) -> bool:
        """Whether this is the rank that writes records."""
        return self.rank == 0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Find the world in the environment of torchrun, horovodrun, Open MPI, PALS, MPICH or srun.

        Raises:
            CommunicationError: A launcher's variables are there but incomplete or inconsistent.
        """
        env = os.environ if environ is None else environ
        for launcher in _LAUNCHERS:
            if launcher.rank in env and (launcher.marker is None or launcher.marker in env):
                return cls._read(launcher, env)
        return cls()

    @classmethod
    def _read(cls, launcher: _Launcher, env: Mapping[str, str]) -> Self:
        def number(names: tuple[str, ...], default: int) -> int:
            text = next((env[name] for name in names if name in env), str(default))
            try:
                return int(text)
            except ValueError:
                raise CommunicationError(f"{launcher.name}: {names[0]} is {text!r}, not a number") from None

        num_ranks = number((launcher.size,), 1)
        local_num_ranks = number(launcher.local_size, num_ranks)
        rank = number((launcher.rank,), 0)
        num_nodes = number(launcher.num_nodes, max(1, -(-num_ranks // local_num_ranks)))
        world = cls(
            rank=rank,
            num_ranks=num_ranks,
            local_rank=number(launcher.local_rank, rank % local_num_ranks),
            local_num_ranks=local_num_ranks,
            node=number(launcher.node, rank // local_num_ranks),
            num_nodes=num_nodes,
            launcher=launcher.name,
        )
        if not 0 <= world.rank < world.num_ranks:
            raise CommunicationError(f"{launcher.name}: rank {world.rank} of {world.num_ranks} ranks is impossible")
        return world


@dataclass(frozen=True, slots=True)
class _Launcher:
    """Variables that a launcher sets; ``marker`` tells it from others that set the same ones."""

    name: str
    rank: str
    size: str
    local_rank: tuple[str, ...]
    local_size: tuple[str, ...]
    node: tuple[str, ...]
    num_nodes: tuple[str, ...]
    marker: str | None = None


# Order matters: a launcher started inside another one (horovodrun in a Slurm allocation) wins.
_LAUNCHERS = (
    _Launcher(
        "horovodrun",
        "HOROVOD_RANK",
        "HOROVOD_SIZE",
        ("HOROVOD_LOCAL_RANK",),
        ("HOROVOD_LOCAL_SIZE",),
        ("HOROVOD_CROSS_RANK",),
        ("HOROVOD_CROSS_SIZE",),
    ),
    _Launcher(
        "torchrun",
        "RANK",
        "WORLD_SIZE",
        ("LOCAL_RANK",),
        ("LOCAL_WORLD_SIZE",),
        ("GROUP_RANK",),
        ("GROUP_WORLD_SIZE",),
        marker="MASTER_ADDR",
    ),
    _Launcher(
        "mpirun (Open MPI)",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        ("OMPI_COMM_WORLD_LOCAL_RANK",),
        ("OMPI_COMM_WORLD_LOCAL_SIZE",),
        (),
        (),
    ),
    _Launcher(
        "PALS",
        "PALS_RANKID",
        "PMI_SIZE",
        ("PALS_LOCAL_RANKID", "PMI_LOCAL_RANK"),
        ("PALS_LOCAL_SIZE", "PMI_LOCAL_SIZE"),
        ("PALS_NODEID",),
        (),
    ),
    _Launcher(
        "srun",
        "SLURM_PROCID",
        "SLURM_STEP_NUM_TASKS",
        ("SLURM_LOCALID",),
        (),
        ("SLURM_NODEID",),
        ("SLURM_STEP_NUM_NODES",),
        marker="SLURM_STEP_NUM_TASKS",
    ),
    _Launcher(
        "MPICH",
        "PMI_RANK",
        "PMI_SIZE",
        ("MPI_LOCALRANKID",),
        ("MPI_LOCALNRANKS",),
        (),
        (),
    ),
)
