"""How the representatives that each rank draws reach it: two collectives per round."""

from __future__ import annotations

import torch
from torch import Tensor

from rehearse.buffers._draws import Union
from rehearse.buffers._shard import Shard
from rehearse.core.errors import CommunicationError
from rehearse.core.protocols import Communicator


def gather_counts(communicator: Communicator, round_number: int, size: int) -> list[int]:
    """Representatives in each rank's shard, in rank order; collective.

    Raises:
        CommunicationError: Ranks are in different rounds, so their draws would not agree.
    """
    rows = communicator.gather_rows(torch.tensor([[round_number, size]], dtype=torch.int64))
    rounds = [int(row[0, 0]) for row in rows]
    if set(rounds) != {round_number}:
        raise CommunicationError(
            f"rehearsal: ranks are in different rounds, {rounds} in rank order; "
            "every rank must offer once per step and resume from the same checkpoint"
        )
    return [int(row[0, 1]) for row in rows]


def fetch(
    communicator: Communicator, shard: Shard, union: Union, drawn: list[list[list[int]]]
) -> tuple[list[Tensor], int]:
    """This rank's representatives; collective.

    Every rank contributes what any rank drew from its shard, each representative once.

    Args:
        communicator: Joins the ranks.
        shard: This rank's.
        union: All shards.
        drawn: Numbers in the union that each rank drew, in rank order, draw by draw.

    Returns:
        For each of this rank's draws ``(n, row_bytes)`` uint8 in its order; the bytes that other ranks sent.
    """
    rank = communicator.world.rank
    wanted = sorted({number for draws in drawn for numbers in draws for number in numbers})
    own = shard.pack(union.slots_of(rank, wanted))
    # Shards follow each other in rank order, so the gathered rows lie as `wanted` does.
    rows = torch.cat(communicator.gather_rows(own))
    place = {number: index for index, number in enumerate(wanted)}
    mine = [torch.tensor([place[number] for number in numbers], dtype=torch.int64) for numbers in drawn[rank]]
    return [rows.index_select(0, places) for places in mine], rows.nbytes - own.nbytes
