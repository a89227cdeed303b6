"""Which samples of a minibatch enter a shard, and which representatives they replace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rehearse.buffers._draws import Draws
from rehearse.buffers._quotas import FixedQuotas, SharedQuotas
from rehearse.buffers._shard import Shard


@dataclass(slots=True)
class Insertion:
    """What an offer changes.

    Attributes:
        rows: ``rows[slot]`` is the row of the minibatch to be copied into the slot.
        num_inserted: Samples that entered, those that another one of the same offer replaced included.
        num_evicted: Representatives that made room.
    """

    rows: dict[int, int] = field(default_factory=dict)
    num_inserted: int = 0
    num_evicted: int = 0


class Policy(ABC):
    """Decides about insertion; slots are assigned at once, the caller copies the rows."""

    @abstractmethod
    def insert(self, labels: Sequence[int], shard: Shard, draws: Draws) -> Insertion:
        """Choose among the samples of a minibatch, given by their labels."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What the policy has counted."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""


class ClassQuota(Policy):
    """Classes have quotas; the samples of each class replace each other at random.

    Exactly min(c, b) distinct samples of the minibatch are candidates, every choice of them equally
    likely, and nothing else enters, also while there is room: so a sample always has the same chance
    c/b of being a candidate. Candidates fill their class up to its quota; those beyond replace
    representatives of the class, distinct and uniformly chosen. If a class has more candidates than
    its quota, as many of them as the quota, at random, enter. A class of quota 0 is not stored here.
    When a new class makes quotas shrink, classes give up the excess at once, uniformly chosen.

    Law, for quota Q ≥ candidates: a representative of a full class survives each candidate of its
    class with probability 1 − 1/Q on average, so its mean age is Q·b/c samples of its class.

    Args:
        num_candidates: c.
        quotas: Slots of each class in this shard.
    """

    def __init__(self, num_candidates: int, quotas: FixedQuotas | SharedQuotas) -> None:
        self._num_candidates = num_candidates
        self._quotas = quotas

    def insert(self, labels: Sequence[int], shard: Shard, draws: Draws) -> Insertion:
        insertion = Insertion()
        candidates: dict[int, list[int]] = {}
        for row in draws.distinct(min(self._num_candidates, len(labels)), len(labels)):
            candidates.setdefault(labels[row], []).append(row)
        if self._quotas.admit(candidates):
            insertion.num_evicted += self._shrink(shard, draws)
        for label, rows in candidates.items():
            entering = rows[: self._quotas[label]]
            held = shard.slots_of(label)
            num_replaced = max(0, len(held) + len(entering) - self._quotas[label])
            slots = [held[place] for place in draws.distinct(num_replaced, len(held))]
            slots += [shard.claim(label) for _ in entering[num_replaced:]]
            insertion.rows.update(zip(slots, entering, strict=True))
            insertion.num_inserted += len(entering)
            insertion.num_evicted += num_replaced
        return insertion

    def state_dict(self) -> dict[str, Any]:
        return {"seen_classes": self._quotas.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._quotas.admit(state["seen_classes"])

    def _shrink(self, shard: Shard, draws: Draws) -> int:
        """Evict what exceeds the quotas; the number of representatives evicted."""
        num_evicted = 0
        for label, held in shard.fill().items():
            for _ in range(held - self._quotas[label]):
                slots = shard.slots_of(label)
                shard.remove(slots[draws.below(len(slots))])
                num_evicted += 1
        return num_evicted


class Reservoir(Policy):
    """Algorithm R (Vitter, «Random sampling with a reservoir», 1985) over all that a rank was offered.

    Every sample of every minibatch takes part; c plays no role. Each of the n_w samples that rank w
    was offered is stored with the same probability |shard_w| / n_w. Where ranks are offered the same
    number of samples and the budget divides by their number, this is |B| / n for the budget |B| and
    the n samples of all ranks; otherwise it differs from that by a relative W/|B| + W/n at most, for
    W ranks whose numbers of slots and of samples differ by one.
    """

    def __init__(self) -> None:
        self._num_seen = 0

    def insert(self, labels: Sequence[int], shard: Shard, draws: Draws) -> Insertion:
        insertion = Insertion()
        for row, label in enumerate(labels):
            self._num_seen += 1
            if shard.size < shard.capacity:
                slot = shard.claim(label)
            else:
                slot = draws.below(self._num_seen)
                if slot >= shard.capacity:
                    continue
                shard.reassign(slot, label)
                insertion.num_evicted += 1
            insertion.rows[slot] = row
            insertion.num_inserted += 1
        return insertion

    def state_dict(self) -> dict[str, Any]:
        return {"num_seen": self._num_seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._num_seen = int(state["num_seen"])
