from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

__version__: str

Array = NDArray[Any]
Labels = NDArray[np.int64]
Ids = NDArray[np.uint64]
Exchange = Callable[[bytes], list[bytes]]

def shard_capacity(budget: int, size: int, rank: int) -> int:
    """Slots of one rank; the sum over ranks is the budget."""

def class_quota(budget: int, num_classes: int, position: int, size: int, rank: int) -> int:
    """Slots that one rank gives to one of the classes that share the budget; exact in sum."""

class Sample:
    """Representatives of one draw: views of staging memory, valid until ``depth`` further draws were asked for.

    Attributes:
        fields: ``(m, *shape)`` per field, m = min(representatives, population).
        labels: ``(m,)`` int64.
        ids: ``(m,)`` uint64, as given with the offer, 0 if none were.
        owners: ``(m,)`` uint32, ranks whose shards they come from.
        augmented_fields: ``(b + m, *shape)`` per field: the minibatch given to ``assemble``, then the same rows.
        augmented_labels: ``(b + m,)`` int64.
        population: Records that were drawn from.
        weight: m / population.
        round: Round whose end the population is that of (free mode: own round).
    """

    @property
    def fields(self) -> dict[str, Array]: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def ids(self) -> Ids: ...
    @property
    def owners(self) -> NDArray[np.uint32]: ...
    @property
    def augmented_fields(self) -> dict[str, Array]: ...
    @property
    def augmented_labels(self) -> Labels: ...
    @property
    def population(self) -> int: ...
    @property
    def weight(self) -> float: ...
    @property
    def round(self) -> int: ...
    def __len__(self) -> int: ...

class Memory:
    """One rank's shard and its access to all others. Any thread may call anything.

    Every call raises ClosedError after ``close`` and in forked processes; what went wrong in the background is
    raised by the next call. Times are in milliseconds, sizes in bytes.
    """

    def __init__(
        self,
        fields: Mapping[str, tuple[str, Sequence[int]]],
        *,
        budget: int,
        num_classes: int,
        candidates: int = 14,
        representatives: int = 7,
        max_batch: int = 1024,
        policy: Literal["class_quota", "reservoir", "fifo", "balanced", "external"] = "class_quota",
        fixed_classes: bool = False,
        mode: Literal["lockstep", "free"] = "lockstep",
        scope: Literal["global", "node", "local"] = "global",
        delay: int = 3,
        depth: int = 3,
        augmented: bool = False,
        seed: int = 0,
        rank: int = 0,
        size: int = 1,
        exchange: Exchange | None = None,
        transport: Literal["auto", "local", "shm", "tcp", "ofi"] = "auto",
        bind: str = "127.0.0.1",
        key: bytes | None = None,
        deadline_ms: int = 2000,
        connect_timeout_ms: int = 30000,
    ) -> None:
        """Reserve all memory and connect to all peers. Collective.

        Args:
            fields: Name to (dtype, shape of one record). Arrays of bfloat16 are uint16 in NumPy.
            budget: Slots of all ranks together.
            num_classes: Labels are in ``[0, num_classes)``.
            candidates: c: rows of each minibatch that are candidates, at most.
            representatives: r: rows per draw, at most.
            max_batch: b: rows of a minibatch, at most.
            policy: Which records stay when the shard is full.
            fixed_classes: Give each class its final quota at once instead of sharing among the classes seen.
            mode: ``lockstep`` repeats bit for bit and needs ranks that synchronise every round; ``free`` draws from
                what is published and goes on without lost peers.
            scope: Whose shards to draw from.
            delay: Rounds before memory of an evicted record is written again: how far apart ranks may be.
            depth: Draws whose samples stay valid at the same time.
            augmented: Leave room for the minibatch in front of the representatives.
            seed: Seeds candidates, victims and draws, together with rank and round.
            rank: This rank.
            size: Number of ranks.
            exchange: Returns every rank's bytes in rank order; collective, called three times.
            transport: How peers are reached; ``auto`` is shared memory on one node, else the network.
            bind: Address that tcp listens on.
            key: Secret of the run; by default rank 0 makes one and ``exchange`` carries it.
            deadline_ms: When a silent peer counts as lost.
            connect_timeout_ms: For connecting to all peers.

        Raises:
            ConfigError: Impossible options, or options that differ between ranks.
            MemoryBudgetError: Not enough memory.
            PeerLost: A peer does not answer or does not hold the key.
        """

    def offer(
        self,
        batch: Mapping[str, Array],
        labels: Labels,
        ids: Ids | None = None,
        wait: bool = False,
        timeout_ms: int = 60000,
    ) -> None:
        """End a round: store candidates of the minibatch in the background.

        Args:
            batch: ``(b, *shape)`` per field, C-contiguous, of exactly the field's dtype; unchanged until stored
                (until ``take`` or ``flush`` returns). b may be 0.
            labels: ``(b,)`` int64.
            ids: ``(b,)`` uint64 that come back with the records.
            wait: Store before returning, so that the arrays may change at once.
            timeout_ms: How long to wait while the engine's queue is full.

        Raises:
            SchemaError: Wrong dtype, shape, layout or label; nothing was stored.
        """

    def prefetch(self, representatives: int | None = None, timeout_ms: int = 60000) -> int:
        """Start a draw from the union of all shards as of the end of this round; returns its ticket.

        Args:
            representatives: Rows of this draw, by default and at most those of the memory.
            timeout_ms: How long to wait while ``depth`` draws are not taken.

        Raises:
            ConfigError: More representatives than the memory has room for.
            Timeout: ``depth`` draws were not taken.
        """

    def assemble(
        self, batch: Mapping[str, Array], labels: Labels, ticket: int | None = None, timeout_ms: int = 60000
    ) -> None:
        """Copy a minibatch in front of the representatives of a draw, in the background."""

    def take(self, ticket: int | None = None, timeout_ms: int = 60000) -> Sample:
        """Wait for a draw, by default the oldest not taken.

        Raises:
            Timeout: It is not there yet.
            PeerLost: A peer is gone or silent (lockstep).
            SnapshotExpired: Ranks are not in lockstep.
        """

    def sample(self, timeout_ms: int = 60000) -> Sample:
        """Draw at once, on the calling thread."""

    def step(
        self, batch: Mapping[str, Array], labels: Labels, ids: Ids | None = None, timeout_ms: int = 60000
    ) -> Sample:
        """Take what the last step drew (nothing at first), offer this minibatch, start the next draw."""

    def plan(self, labels: Labels, timeout_ms: int = 60000) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Choose candidates without copying: rows of the minibatch, and the slot for each. ``commit`` ends the round."""

    def commit(self, ids: Ids | None = None, timeout_ms: int = 60000) -> None:
        """Publish the rows that were planned and written to ``slots``."""

    def replace(self, label: int, batch: Mapping[str, Array], ids: Ids | None = None, timeout_ms: int = 60000) -> None:
        """Make these rows, most important first, the content of a class in this shard; ends a round.

        For policy ``external``, as with herding. Every rank ends its rounds equally often.

        Raises:
            SchemaError: They do not fit: more than ``candidates``, or than the shard has room for.
        """

    def truncate(self, keep: int, timeout_ms: int = 60000) -> None:
        """Keep the first records of every class in this shard, at most ``keep``; ends a round."""

    def slots(self, field: str) -> Array:
        """A field of all slots of this shard, ``(slots, *shape)``, writable, strided."""

    @property
    def arena(self) -> NDArray[np.uint8]:
        """All bytes of this shard, to be registered with a device."""

    @property
    def staging(self) -> NDArray[np.uint8]:
        """All bytes that samples point into, to be registered with a device."""

    def flush(self, timeout_ms: int = 60000) -> None:
        """Wait until everything asked for is done."""

    def fill(self, timeout_ms: int = 60000) -> dict[int, int]:
        """Records of this shard by label."""

    def stats(self, timeout_ms: int = 60000) -> dict[str, float]:
        """Counts, sizes and times; the unit is in the name."""

    def verify(self, timeout_ms: int = 60000) -> None:
        """Check every record's stamps and every slot's use.

        Raises:
            CorruptRecord: The shard is inconsistent.
        """

    def save(self, path: str | PathLike[str], incremental: bool = False, timeout_ms: int = 60000) -> None:
        """Write this shard as of the end of the current round; the engine goes on meanwhile. Not collective.

        The file appears when it is complete. ``neomem.checkpoint`` saves all ranks' shards as one.

        Args:
            path: File.
            incremental: Write only what changed since the last full save of this object.
            timeout_ms: For the engine to become free.

        Raises:
            CheckpointError: The file cannot be written; a previous one of the same name is still there.
        """

    def dump(self, timeout_ms: int = 60000) -> NDArray[np.uint8]:
        """What ``save`` writes, as an array."""

    def restore(
        self,
        files: Sequence[str | PathLike[str] | NDArray[np.uint8]],
        bases: Sequence[str | PathLike[str] | NDArray[np.uint8]] = (),
        timeout_ms: int = 60000,
    ) -> None:
        """Restore into a new memory; every rank does, before the next round.

        At the same number of ranks the run continues bit for bit, and only the own file is read: draws that were
        not taken are asked for again with ``prefetch``. At another number, records are dealt anew, within budget
        and quotas.

        Args:
            files: What all ranks of the saved run saved or dumped, in rank order.
            bases: The full saves that incremental ones build on, in rank order.
            timeout_ms: For the engine to become free.

        Raises:
            CheckpointError: A file is damaged, incomplete or of another configuration.
        """

    def forget(self, rank: int, timeout_ms: int = 60000) -> None:
        """Count a peer's shard as empty from now on."""

    def round(self, timeout_ms: int = 60000) -> int:
        """Number of offers so far."""

    @property
    def capacity(self) -> int:
        """Slots of this shard."""

    @property
    def transports(self) -> list[str]:
        """How each rank is reached."""

    def drain(self, timeout_ms: int = 60000) -> None:
        """Finish what was asked for, serve peers until they drain or close too, then close.

        Raises:
            Timeout: Some ranks still work; the memory stays open.
        """

    def close(self) -> None:
        """Stop the engine, wake who waits, release memory once no sample points into it."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
