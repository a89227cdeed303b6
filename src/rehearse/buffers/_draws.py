"""Random choices that depend on (seed, purpose, round, rank, number) only.

A counter-based generator needs no state of its own: the same integers give the same choices
at any time and on any rank. So a resumed run continues exactly, and each rank can compute what
every other rank draws without asking it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from itertools import accumulate

import numpy as np

_WORD_BITS = 64
_WORDS_AT_A_TIME = 16

MAX_SEED = 2**_WORD_BITS - 1


class Purpose(IntEnum):
    """What choices are for; each purpose has a sequence of its own."""

    INSERTION = 1
    REPRESENTATIVES = 2


class Draws:
    """Unbiased choices from the Philox4x64-10 sequence with key (seed, purpose).

    The sequence is that of the counter blocks (j, round, rank, number) for j = 1, 2, …, four 64-bit
    words each (Salmon et al., «Parallel random numbers: as easy as 1, 2, 3», SC 2011).
    """

    def __init__(self, seed: int, purpose: Purpose, round_number: int, rank: int, number: int = 0) -> None:
        # NumPy would turn a plain list with large integers into floats, and lose the seed's low bits.
        key = np.array([seed, int(purpose)], dtype=np.uint64)
        counter = np.array([0, round_number, rank, number], dtype=np.uint64)
        self._generator = np.random.Philox(key=key, counter=counter)
        self._words: list[int] = []

    def below(self, bound: int) -> int:
        """A uniform integer of ``[0, bound)``.

        Takes the high word of word · bound and redraws the few products that would favour some
        integers (Lemire, «Fast random integer generation in an interval», 2019).
        """
        product = self._word() * bound
        if product % 2**_WORD_BITS < bound:
            surplus = 2**_WORD_BITS % bound
            while product % 2**_WORD_BITS < surplus:
                product = self._word() * bound
        return product >> _WORD_BITS

    def distinct(self, count: int, population: int) -> list[int]:
        """``count`` distinct integers of ``[0, population)``, each subset and order equally likely.

        Floyd's algorithm (Bentley and Floyd, «A sample of brilliance», 1987), then a shuffle:
        the cost grows with ``count``, not with ``population``.
        """
        chosen: dict[int, None] = {}
        for last in range(population - count, population):
            pick = self.below(last + 1)
            chosen[last if pick in chosen else pick] = None
        order = list(chosen)
        for end in range(len(order) - 1, 0, -1):
            other = self.below(end + 1)
            order[end], order[other] = order[other], order[end]
        return order

    def _word(self) -> int:
        if not self._words:
            self._words = self._generator.random_raw(_WORDS_AT_A_TIME).tolist()[::-1]
        return self._words.pop()


class Union:
    """The representatives of several shards, numbered shard after shard.

    Args:
        counts: Representatives in each shard.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self._ends = list(accumulate(counts))
        self._starts = [end - count for end, count in zip(self._ends, counts, strict=True)]

    def __len__(self) -> int:
        return self._ends[-1]

    def draw(self, count: int, draws: Draws) -> list[int]:
        """``count`` distinct representatives, uniformly; all of them, shuffled, if there are fewer."""
        return draws.distinct(min(count, len(self)), len(self))

    def slots_of(self, rank: int, numbers: Sequence[int]) -> list[int]:
        """The slots of one shard among numbers of the union, in their order."""
        start, end = self._starts[rank], self._ends[rank]
        return [number - start for number in numbers if start <= number < end]
