"""How many slots of its shard a rank gives to each class."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rehearse.core.rehearsal import class_quota, class_total, shard_capacity


class FixedQuotas:
    """Every class has its final quota from the start.

    Args:
        budget: Slots of all ranks together.
        num_ranks: Number of ranks.
        rank: Whose quotas.
        num_classes: Classes that share the budget, seen or not.
    """

    def __init__(self, budget: int, num_ranks: int, rank: int, num_classes: int) -> None:
        self._quotas = [class_quota(budget, num_classes, label, num_ranks, rank) for label in range(num_classes)]

    def admit(self, labels: Iterable[int]) -> bool:
        """Take note of new classes; says whether any quota changed."""
        return False

    def __getitem__(self, label: int) -> int:
        return self._quotas[label]

    @property
    def seen(self) -> list[int]:
        """Classes that share the budget, ascending."""
        return list(range(len(self._quotas)))


class SharedQuotas:
    """The classes that this rank has seen share its slots; a new class makes the others' quotas shrink.

    Classes take their place in the table of quotas by label, ascending: ranks that have seen the same
    classes agree on it, in whatever order they saw them. Where labels ascend along the stream, as in
    the class scenario, a quota never grows back, so no slot is left empty by a class of the past.

    Args:
        budget: Slots of all ranks together.
        num_ranks: Number of ranks.
        rank: Whose quotas.
        seen: Classes seen already.
    """

    def __init__(self, budget: int, num_ranks: int, rank: int, seen: Iterable[int] = ()) -> None:
        self._rank = rank
        self._table = QuotaTable(budget, num_ranks)
        self._quotas: dict[int, int] = {}
        self.admit(seen)

    def admit(self, labels: Iterable[int]) -> bool:
        """Take note of new classes; says whether any quota changed."""
        new = set(labels).difference(self._quotas)
        if new:
            seen = sorted(new.union(self._quotas))
            self._table.grow_to(len(seen))
            self._quotas = {label: self._table.quota(place, self._rank) for place, label in enumerate(seen)}
        return bool(new)

    def __getitem__(self, label: int) -> int:
        return self._quotas[label]

    @property
    def seen(self) -> list[int]:
        """Classes that share the budget, ascending."""
        return list(self._quotas)


class QuotaTable:
    """Slots of each class on each rank, for one class after another.

    Each row sums to the class's part of the budget and each column to the rank's capacity, exactly,
    with less than one slot per class and rank too. A further class only takes slots away from the
    others: on no rank does a row's entry ever grow. Dividing the budget afresh would instead move a
    class that has fewer slots than there are ranks to other ranks, and lose what it stored.
    """

    def __init__(self, budget: int, num_ranks: int) -> None:
        self._budget = budget
        capacities = [shard_capacity(budget, num_ranks, rank) for rank in range(num_ranks)]
        self._rows: list[NDArray[np.int64]] = [np.array(capacities, dtype=np.int64)]

    def quota(self, place: int, rank: int) -> int:
        """Slots that one rank gives to the class at ``place``."""
        return int(self._rows[place][rank])

    def grow_to(self, num_classes: int) -> None:
        """Make room for more classes, one by one, so that the table depends on their number only."""
        for count in range(len(self._rows) + 1, num_classes + 1):
            newest = np.zeros_like(self._rows[0])
            for place, row in enumerate(self._rows):
                lowered = _lower(row, class_total(self._budget, count, place), newest)
                newest += row - lowered
                self._rows[place] = lowered
            self._rows.append(newest)


def _lower(row: NDArray[np.int64], total: int, receiver: NDArray[np.int64]) -> NDArray[np.int64]:
    """Reduce a row to a smaller sum, its largest entries first, and where ``receiver`` has least among those."""
    if total == row.sum():
        return row
    level = bisect_left(range(int(row.max())), total, key=lambda cap: int(np.minimum(row, cap).sum()))
    lowered = np.minimum(row, level)
    highest = np.flatnonzero(lowered == level)
    by_need = np.argsort((receiver + row - lowered)[highest], kind="stable")
    lowered[highest[by_need[: lowered.sum() - total]]] -= 1
    return lowered
