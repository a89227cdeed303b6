"""The readable rehearsal buffer: synchronous, in line, every choice reproducible.

The reference that other buffers are tested against. A round is one ``offer``: candidates enter this
rank's shard, all ranks tell each other how many representatives they hold, and each draws r of the
union, uniformly and without replacement. ``take`` returns them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from rehearse.buffers._draws import MAX_SEED, Draws, Purpose, Union
from rehearse.buffers._exchange import fetch, gather_counts
from rehearse.buffers._identity import check_identity, identity
from rehearse.buffers._offered import offered_fields
from rehearse.buffers._policies import ClassQuota, Policy, Reservoir
from rehearse.buffers._quotas import FixedQuotas, SharedQuotas
from rehearse.buffers._shard import Layout, Shard
from rehearse.core.batch import Batch
from rehearse.core.errors import RehearsalError
from rehearse.core.protocols import Buffer, BufferSpec, Communicator
from rehearse.core.registry import register
from rehearse.core.rehearsal import BufferConfig, shard_capacity

_COUNTERS = ("offered", "inserted", "evicted", "drawn", "bytes_exchanged")


class PythonBufferConfig(BufferConfig):
    """The reference buffer has the options that all buffers share."""

    name: Literal["python"] = "python"


@register
class PythonBuffer(Buffer):
    """Rehearsal without background threads; ``offer`` is collective and does the whole round."""

    Config = PythonBufferConfig

    def __init__(self, config: BufferConfig, spec: BufferSpec, communicator: Communicator) -> None:
        if not 0 <= spec.seed <= MAX_SEED:
            raise RehearsalError(f"the buffer's seed must be in [0, 2**64), got {spec.seed}")
        if "inputs" not in spec.fields:
            raise RehearsalError(f"the buffer needs a field 'inputs', got {', '.join(spec.fields) or 'none'}")
        self._config = config
        self._spec = spec
        self._communicator = communicator
        self._world = communicator.world
        capacity = shard_capacity(spec.budget, self._world.num_ranks, self._world.rank)
        self._shard = Shard(capacity, Layout(spec.fields))
        self._policy = self._new_policy()
        self._round = 0
        self._drawn = self._shard.pack([])
        self._num_drawn_global = 0
        self._counts: Counter[str] = Counter()
        self._seconds = {"populate_s": 0.0, "plan_s": 0.0, "fetch_s": 0.0}

    def offer(self, minibatch: Batch) -> None:
        """Let the policy insert samples of the minibatch, then draw r representatives; collective.

        Raises:
            RehearsalError: Wrong dtype or shape, or a label out of range; nothing is stored.
            CommunicationError: Another rank is lost or in another round.
        """
        with self._timed("populate_s"):
            self._insert(minibatch)
        self._draw()
        self._round += 1

    def take(self, timeout_s: float = 60.0) -> Batch:
        """Representatives of the last round in new memory; there is nothing to wait for."""
        labels, fields = self._shard.layout.unpack(self._drawn)
        return Batch(
            inputs=fields.pop("inputs"),
            labels=labels,
            targets=fields,
            num_global=self._num_drawn_global,
            num_ranks=self._world.num_ranks,
        )

    def fill(self) -> dict[int, int]:
        return self._shard.fill()

    def stats(self) -> dict[str, float]:
        """Sizes now, and sums since the start; sums of samples and bytes survive a resume, seconds do not.

        ``bytes`` is the size of this rank's reserved arrays, ``bytes_exchanged`` what other ranks sent
        to this one. ``populate_s`` is spent on inserting, ``plan_s`` on counts and draws, ``fetch_s`` on
        representatives.
        """
        return {
            "budget_slots": self._spec.budget,
            "capacity_slots": self._shard.capacity,
            "stored_slots": self._shard.size,
            "bytes": self._shard.num_bytes,
            "rounds": self._round,
            **{name: self._counts[name] for name in _COUNTERS},
            **self._seconds,
        }

    def content_sha256(self) -> str:
        """Digest of this rank's representatives, slot by slot."""
        return self._shard.sha256()

    def state_dict(self) -> dict[str, Any]:
        """Shard, policy, counters and the round in flight; the generators' state is the round's number."""
        return {
            "identity": self._identity(),
            "round": self._round,
            "counters": {name: self._counts[name] for name in _COUNTERS},
            "policy": self._policy.state_dict(),
            "drawn": self._drawn.clone(),
            "num_drawn_global": self._num_drawn_global,
            **self._shard.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            CheckpointError: The state belongs to another budget, world, policy or layout.
        """
        check_identity(self._identity(), state["identity"])
        self._shard.load_state_dict(state["labels"], state["fields"], state["slots_by_class"])
        self._policy = self._new_policy()
        self._policy.load_state_dict(state["policy"])
        self._drawn = state["drawn"].clone()
        self._num_drawn_global = int(state["num_drawn_global"])
        self._round = int(state["round"])
        self._counts = Counter({name: int(state["counters"][name]) for name in _COUNTERS})

    def _insert(self, minibatch: Batch) -> None:
        fields = offered_fields(minibatch, self._shard.layout, self._spec.num_classes)
        draws = Draws(self._spec.seed, Purpose.INSERTION, self._round, self._world.rank)
        insertion = self._policy.insert(minibatch.labels.tolist(), self._shard, draws)
        self._shard.write(list(insertion.rows), fields, list(insertion.rows.values()))
        self._counts["offered"] += len(minibatch)
        self._counts["inserted"] += insertion.num_inserted
        self._counts["evicted"] += insertion.num_evicted

    def _draw(self) -> None:
        rank, num_drawn = self._world.rank, self._config.num_representatives
        with self._timed("plan_s"):
            counts = gather_counts(self._communicator, self._round, self._shard.size)
        if self._config.scope == "local":
            slots = Union([counts[rank]]).draw(num_drawn, self._draws_of(rank))
            self._drawn = self._shard.pack(slots)
            self._num_drawn_global = sum(min(num_drawn, count) for count in counts)
        else:
            with self._timed("plan_s"):
                union = Union(counts)
                drawn = [union.draw(num_drawn, self._draws_of(peer)) for peer in range(len(counts))]
            with self._timed("fetch_s"):
                self._drawn, received_bytes = fetch(self._communicator, self._shard, union, drawn)
            self._num_drawn_global = sum(len(numbers) for numbers in drawn)
            self._counts["bytes_exchanged"] += received_bytes
        self._counts["drawn"] += len(self._drawn)

    def _draws_of(self, rank: int) -> Draws:
        return Draws(self._spec.seed, Purpose.REPRESENTATIVES, self._round, rank)

    def _new_policy(self) -> Policy:
        if self._config.policy == "reservoir":
            return Reservoir()
        budget, world = self._spec.budget, self._world
        quotas = (
            FixedQuotas(budget, world.num_ranks, world.rank, self._spec.num_classes)
            if self._config.fixed_classes
            else SharedQuotas(budget, world.num_ranks, world.rank)
        )
        return ClassQuota(self._config.num_candidates, quotas)

    def _identity(self) -> dict[str, Any]:
        return identity("python", self._config, self._spec, self._world)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started_s = time.perf_counter()
        yield
        self._seconds[name] += time.perf_counter() - started_s
