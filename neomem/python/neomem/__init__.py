"""Distributed rehearsal memory: one shard per rank, uniform draws from the union of all of them.

A rank offers each minibatch; some of its rows are stored. Meanwhile representatives are drawn without replacement
from the shards of all ranks and copied into staging memory, in the background, while the training step computes.
"""

from neomem._neomem import Memory, Sample, __version__, class_quota, shard_capacity
from neomem.errors import (
    CheckpointError,
    ClosedError,
    ConfigError,
    CorruptRecord,
    Error,
    MemoryBudgetError,
    PeerLost,
    SchemaError,
    SnapshotExpired,
    Timeout,
)

__all__ = [
    "CheckpointError",
    "ClosedError",
    "ConfigError",
    "CorruptRecord",
    "Error",
    "Memory",
    "MemoryBudgetError",
    "PeerLost",
    "Sample",
    "SchemaError",
    "SnapshotExpired",
    "Timeout",
    "__version__",
    "class_quota",
    "shard_capacity",
]
