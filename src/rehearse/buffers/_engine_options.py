"""The options of the engine."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rehearse.core.config import Float
from rehearse.core.protocols import BufferSpec, Communicator
from rehearse.core.rehearsal import BufferConfig


class EngineConfig(BufferConfig):
    """Options of the Neomem engine, beside those of every buffer."""

    policy: Literal["class_quota", "reservoir", "fifo", "balanced"] = Field(  # type: ignore[assignment]
        default="class_quota",
        description="Which samples stay when the shard is full; `balanced` shares slots without quotas.",
    )
    scope: Literal["global", "node", "local"] = Field(  # type: ignore[assignment]
        default="global", description="Draw from the shards of all ranks, of this node's ranks, or from the own one."
    )
    implementation: Literal["flyweight", "standard"] = Field(
        default="flyweight",
        description="`standard` places each minibatch in front of its representatives in the background, "
        "`flyweight` fetches representatives only; both train the same.",
    )
    mode: Literal["lockstep", "free"] = Field(
        default="lockstep",
        description="`lockstep` repeats bit for bit; `free` draws from what is published and goes on without lost "
        "ranks.",
    )
    transport: Literal["auto", "local", "shm", "tcp", "ofi"] = Field(
        default="auto",
        description="How other ranks' shards are read; `auto` is shared memory on one node, else the network; "
        "`local` is for ranks that are threads.",
    )
    bind: str = Field(
        default="127.0.0.1", description="Address or interface that tcp listens on; the network's on several nodes."
    )
    deadline_s: Float = Field(default=60.0, gt=0, le=86_400, description="When a silent rank counts as lost, in s.")


def engine_options(config: EngineConfig, spec: BufferSpec, communicator: Communicator) -> dict[str, Any]:
    """Arguments of ``neomem.Memory`` beside the fields."""
    return {
        "budget": spec.budget,
        "num_classes": spec.num_classes,
        # Every sample takes part in a reservoir; c plays no role there.
        "candidates": spec.batch_size if config.policy == "reservoir" else config.num_candidates,
        "representatives": max(spec.draws),
        # A round's draws stay valid until the exchange after the next.
        "depth": 3 * len(spec.draws),
        "max_batch": spec.batch_size,
        "policy": config.policy,
        "fixed_classes": config.fixed_classes,
        "mode": config.mode,
        "scope": config.scope,
        "augmented": config.implementation == "standard",
        "seed": spec.seed,
        "rank": communicator.world.rank,
        "size": communicator.world.num_ranks,
        "exchange": communicator.gather_objects,
        "transport": config.transport,
        "bind": config.bind,
        "deadline_ms": int(1000 * config.deadline_s),
    }
