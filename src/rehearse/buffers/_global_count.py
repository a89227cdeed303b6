"""How many representatives all ranks drew together, asked only while it can still change."""

from __future__ import annotations

from collections.abc import Callable

import torch

from rehearse.core.protocols import Communicator


class GlobalCount:
    """Exact on every rank, in every round.

    Args:
        communicator: Joins the ranks.
        wanted: r.
        is_common: Whether all ranks draw from the same records of the same round, and so draw equally many.
    """

    def __init__(self, communicator: Communicator, wanted: int, is_common: bool) -> None:
        self._communicator = communicator
        self._wanted = wanted
        self._is_known = is_common

    def total(self, num_drawn: int, stays_full: Callable[[], bool]) -> int:
        """Representatives of all ranks; collective until all draws are complete and stay so.

        Args:
            num_drawn: Of this rank.
            stays_full: Whether this rank, if it drew r, does so from now on; shards only grow.
        """
        if self._is_known:
            return num_drawn * self._communicator.world.num_ranks
        is_final = num_drawn == self._wanted and stays_full()
        rows = self._communicator.gather_rows(torch.tensor([[num_drawn, is_final]]))
        self._is_known = all(bool(row[0, 1]) for row in rows)
        return sum(int(row[0, 0]) for row in rows)
