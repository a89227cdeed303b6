"""Ranks as threads of this process, for tests that need many rounds and no real network."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from rehearse.core.protocols import Communicator
from rehearse.core.world import World


class _Meeting:
    """Where ranks leave their values for each other.

    Two tables in turn: nobody can overwrite a value of one meeting before everybody has read it,
    because that takes another meeting in between.
    """

    def __init__(self, num_ranks):
        self.barrier = threading.Barrier(num_ranks, timeout=30)
        self.tables = [[None] * num_ranks, [None] * num_ranks]


class FakeCommunicator(Communicator):
    """Gathers between threads; a rank that fails makes the others fail as well."""

    def __init__(self, world, meeting):
        self.world = world
        self._meeting = meeting
        self._turn = 0

    def gather_objects(self, value):
        table = self._meeting.tables[self._turn]
        self._turn = 1 - self._turn
        table[self.world.rank] = value
        self._meeting.barrier.wait()
        return list(table)

    def gather_rows(self, rows):
        # A copy, because its owner may go on and change the rows before the others have read them.
        return [part.clone() for part in self.gather_objects(rows.clone())]

    def barrier(self):
        self._meeting.barrier.wait()

    def allreduce(self, tensor, op="mean"):
        assert op == "mean"
        return torch.stack(self.gather_rows(tensor)).mean(0)

    def broadcast(self, tensor, root=0):
        raise NotImplementedError

    def wrap_optimizer(self, optimizer, model):
        raise NotImplementedError

    def abort(self, exit_code):
        self._meeting.barrier.abort()

    def close(self):
        pass


def run_fake_ranks(num_ranks, function):
    """Call ``function(communicator)`` on every rank at once; returns the results in rank order."""
    meeting = _Meeting(num_ranks)
    communicators = [FakeCommunicator(World(rank=rank, num_ranks=num_ranks), meeting) for rank in range(num_ranks)]

    def call(communicator):
        try:
            return function(communicator)
        except BaseException:
            communicator.abort(1)
            raise

    with ThreadPoolExecutor(num_ranks) as pool:
        futures = [pool.submit(call, communicator) for communicator in communicators]
    errors = [error for future in futures if (error := future.exception()) is not None]
    # The rank that failed first broke the barrier of the others.
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]
