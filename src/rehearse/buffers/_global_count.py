"""How many representatives all ranks drew together, asked only while it can still change."""

from __future__ import annotations

from collections.abc import Callable

import torch

from rehearse.core.protocols import Communicator


class GlobalCount:
    """Exact on every rank, in every round.

    Args:
        communicator: Joins the ranks.
        wanted: Representatives of each draw, per rank.
        is_common: Whether all ranks draw from the same records of the same round, and so draw equally many.
    """

    def __init__(self, communicator: Communicator, wanted: tuple[int, ...], is_common: bool) -> None:
        self._communicator = communicator
        self._wanted = wanted
        self._is_known = is_common

    def totals(self, num_drawn: tuple[int, ...], stays_full: Callable[[], bool]) -> list[int]:
        """Representatives of all ranks, draw by draw; collective until all draws are complete and stay so.

        Args:
            num_drawn: Of this rank, draw by draw.
            stays_full: Whether this rank, if its draws are complete, keeps them so; shards only grow.
        """
        if self._is_known:
            return [number * self._communicator.world.num_ranks for number in num_drawn]
        is_final = num_drawn == self._wanted and stays_full()
        rows = torch.cat(self._communicator.gather_rows(torch.tensor([[is_final, *num_drawn]])))
        self._is_known = bool(rows[:, 0].all())
        totals: list[int] = rows[:, 1:].sum(0).tolist()
        return totals
