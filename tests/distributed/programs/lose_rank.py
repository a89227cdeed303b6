"""Trains without end on several ranks; one of them dies at the fifth step.

Usage: lose_rank.py COMMUNICATOR RANK WAY [TIMEOUT_S]
"""

import os
import signal
import sys
import time

import torch
from torch import nn

from rehearse.core import registry
from rehearse.core.errors import DataError
from rehearse.core.failure import abort_on_error
from rehearse.core.world import World

HANG_S = 12


def die(way):
    print("dying at", time.time(), flush=True)
    if way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "exit":
        os._exit(17)
    if way == "hang":
        time.sleep(HANG_S)
        os._exit(0)
    if way == "interrupt":
        signal.raise_signal(signal.SIGINT)
    if way == "data":
        raise DataError("sample 3 cannot be read")
    raise ZeroDivisionError("a bug")


def train(communicator, model, optimizer, doomed, way):
    optimizer = communicator.wrap_optimizer(optimizer, model)
    for step in range(10_000):
        if step == 5 and communicator.world.rank == doomed:
            die(way)
        optimizer.zero_grad()
        model(torch.ones(1, 64)).sum().backward()
        optimizer.synchronize()
        optimizer.step()
        communicator.gather_rows(torch.ones(100, 10))


def main():
    name, doomed, way, *timeout_s = sys.argv[1:]
    # Torch's first optimiser takes seconds of imports on a busy machine: not while others wait.
    model = nn.Linear(64, 64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    kind = registry.get("communicators", name)
    communicator = kind(kind.Config(name=name, timeout_s=float(*timeout_s or [60])), World.from_env())
    with abort_on_error(communicator):
        train(communicator, model, optimizer, int(doomed), way)


main()
