"""Which rank am I: read from whatever launched this process."""

from __future__ import annotations

import os
import re
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
        node: This node among all nodes; under a launcher that does not say, as if ranks filled node after node.
        num_nodes: Number of nodes.
        launcher: What started the ranks.
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
        """Find the world in the environment of horovodrun, torchrun, Open MPI, PALS, MPICH or srun.

        A launcher started inside another one wins: mpirun in a Slurm step, torchrun in an mpirun.
        Ranks started by hand set RANK, WORLD_SIZE and MASTER_ADDR. No launcher at all is a world
        of one rank; so is a batch script, whose SLURM_PROCID belongs to no step.

        Raises:
            CommunicationError: A launcher's variables are incomplete or contradict each other.
        """
        env = os.environ if environ is None else environ
        found = [launcher for launcher in _LAUNCHERS if launcher.started(env)]
        if not found:
            return cls()
        world = cls._read(found[0], env)
        if found[0] is _BY_HAND:
            for other in found[1:]:
                world._refuse_contradiction(cls._read(other, env))
        return world

    @classmethod
    def _read(cls, launcher: _Launcher, env: Mapping[str, str]) -> Self:
        rank = launcher.number(env, "rank", launcher.rank)
        num_ranks = launcher.number(env, "size", launcher.size)
        node = launcher.number(env, "node", launcher.node, default=-1)
        layout = _ranks_per_node(launcher, env)
        local_default = layout[node] if 0 <= node < len(layout) else num_ranks
        local_num_ranks = launcher.number(env, "local size", launcher.local_size, default=local_default)
        per_node = max(1, local_num_ranks)
        num_nodes = launcher.number(env, "nodes", launcher.num_nodes, default=-(-num_ranks // per_node))
        world = cls(
            rank=rank,
            num_ranks=num_ranks,
            local_rank=launcher.number(env, "local rank", launcher.local_rank, default=rank % per_node),
            local_num_ranks=local_num_ranks,
            node=node if node >= 0 else min(rank // per_node, num_nodes - 1),
            num_nodes=num_nodes,
            launcher=launcher.name,
        )
        world._refuse_nonsense()
        return world

    def _refuse_nonsense(self) -> None:
        for part, whole, text in (
            (self.rank, self.num_ranks, "rank {} of {} ranks"),
            (self.local_rank, self.local_num_ranks, "local rank {} of {} ranks on the node"),
            (self.node, self.num_nodes, "node {} of {} nodes"),
            (self.local_num_ranks - 1, self.num_ranks, "{} + 1 ranks on a node, {} ranks in all"),
            (self.num_nodes - 1, self.num_ranks, "{} + 1 nodes for {} ranks"),
        ):
            if not 0 <= part < whole:
                raise CommunicationError(
                    f"{self.launcher}: {text.format(part, whole)} is impossible; "
                    "unset variables that an earlier launcher left in the environment"
                )

    def _refuse_contradiction(self, other: World) -> None:
        """By hand, ranks may be started in each rank of a smaller launch, not in a part of a larger one."""
        if (other.num_ranks, other.rank) == (self.num_ranks, self.rank) or other.num_ranks < self.num_ranks:
            return
        if other.num_ranks > 1:
            raise CommunicationError(
                f"RANK and WORLD_SIZE say rank {self.rank} of {self.num_ranks}, {other.launcher} says "
                f"rank {other.rank} of {other.num_ranks}; unset RANK and WORLD_SIZE if {other.launcher} starts ranks"
            )


@dataclass(frozen=True, slots=True)
class _Launcher:
    """Variables that a launcher sets; it started this process where ``rank`` and all of ``markers`` are set."""

    name: str
    rank: tuple[str, ...]
    size: tuple[str, ...]
    local_rank: tuple[str, ...] = ()
    local_size: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    num_nodes: tuple[str, ...] = ()
    ranks_per_node: str | None = None
    markers: tuple[str, ...] = ()

    def started(self, env: Mapping[str, str]) -> bool:
        return all(name in env for name in (*self.rank, *self.markers))

    def number(self, env: Mapping[str, str], what: str, names: tuple[str, ...], default: int | None = None) -> int:
        name = next((name for name in names if name in env), None)
        if name is None:
            if default is None:
                raise CommunicationError(f"{self.name}: {self.rank[0]} is set, but not the {what} ({', '.join(names)})")
            return default
        try:
            return int(env[name])
        except ValueError:
            raise CommunicationError(f"{self.name}: {name} is {env[name]!r}, not a number") from None


def _ranks_per_node(launcher: _Launcher, env: Mapping[str, str]) -> list[int]:
    """Slurm's ``2(x3),1`` as ``[2, 2, 2, 1]``; empty where the launcher does not say."""
    text = env.get(launcher.ranks_per_node, "") if launcher.ranks_per_node else ""
    layout: list[int] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise CommunicationError(f"{launcher.name}: {launcher.ranks_per_node} is {text!r}, not like '2(x3),1'")
        layout += [int(match[1])] * int(match[2] or 1)
    return layout


_BY_HAND = _Launcher(
    name="environment",
    rank=("RANK",),
    size=("WORLD_SIZE",),
    local_rank=("LOCAL_RANK",),
    local_size=("LOCAL_WORLD_SIZE",),
    markers=("WORLD_SIZE", "MASTER_ADDR"),
)

# Innermost first: each may run inside a launch of those below it. MPICH's own launcher starts its
# proxies with srun in a Slurm allocation, and `srun --mpi=pmi2` sets MPICH's PMI variables.
_LAUNCHERS = (
    _Launcher(
        name="horovodrun",
        rank=("HOROVOD_RANK",),
        size=("HOROVOD_SIZE",),
        local_rank=("HOROVOD_LOCAL_RANK",),
        local_size=("HOROVOD_LOCAL_SIZE",),
        node=("HOROVOD_CROSS_RANK",),
        num_nodes=("HOROVOD_CROSS_SIZE",),
    ),
    _Launcher(
        name="torchrun",
        rank=("RANK",),
        size=("WORLD_SIZE",),
        local_rank=("LOCAL_RANK",),
        local_size=("LOCAL_WORLD_SIZE",),
        node=("GROUP_RANK",),
        num_nodes=("GROUP_WORLD_SIZE",),
        markers=("TORCHELASTIC_RUN_ID",),
    ),
    _BY_HAND,
    _Launcher(
        name="mpirun",
        rank=("OMPI_COMM_WORLD_RANK",),
        size=("OMPI_COMM_WORLD_SIZE",),
        local_rank=("OMPI_COMM_WORLD_LOCAL_RANK",),
        local_size=("OMPI_COMM_WORLD_LOCAL_SIZE",),
        num_nodes=("OMPI_MCA_orte_num_nodes",),
    ),
    _Launcher(
        name="PALS",
        rank=("PALS_RANKID",),
        size=("PMI_SIZE",),
        local_rank=("PALS_LOCAL_RANKID", "PMI_LOCAL_RANK"),
        local_size=("PALS_LOCAL_SIZE", "PMI_LOCAL_SIZE"),
        node=("PALS_NODEID",),
    ),
    _Launcher(
        name="MPICH",
        rank=("PMI_RANK",),
        size=("PMI_SIZE",),
        local_rank=("MPI_LOCALRANKID",),
        local_size=("MPI_LOCALNRANKS",),
        markers=("MPI_LOCALRANKID",),
    ),
    _Launcher(
        name="srun",
        rank=("SLURM_PROCID",),
        size=("SLURM_STEP_NUM_TASKS",),
        local_rank=("SLURM_LOCALID",),
        node=("SLURM_NODEID",),
        num_nodes=("SLURM_STEP_NUM_NODES",),
        ranks_per_node="SLURM_STEP_TASKS_PER_NODE",
        markers=("SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"),
    ),
    _Launcher(name="PMI", rank=("PMI_RANK",), size=("PMI_SIZE",)),
)
