"""Groups of real processes, whose messages travel over pipes of the test process."""

from __future__ import annotations

import multiprocessing as mp
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest

TIMEOUT_S = 60.0


def _rank_main(target: Callable[..., Any], rank: int, size: int, pipe: Connection, args: tuple[Any, ...]) -> None:
    def exchange(message: bytes) -> list[bytes]:
        pipe.send(("exchange", message))
        return pipe.recv()

    try:
        pipe.send(("result", target(rank, size, exchange, *args)))
    except BaseException:
        pipe.send(("error", traceback.format_exc()))


class Ranks:
    """Processes that run ``target(rank, size, exchange, *args)``; an all-gather completes once all living ask."""

    def __init__(self, target: Callable[..., Any], size: int, *args: Any) -> None:
        context = mp.get_context("spawn")
        self.pipes: list[Connection] = []
        self.processes = []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_rank_main, args=(target, rank, size, theirs, args), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    def join(self, only: set[int] | None = None, timeout_s: float = TIMEOUT_S) -> list[Any]:
        """Results by rank, all of them or `only` some; None for processes that died.

        Raises with the traceback of one that failed.
        """
        size = len(self.pipes)
        results: list[Any] = [None] * size
        messages: dict[int, bytes] = {}
        alive = set(range(size))
        while alive & (only or alive):
            ready = wait([self.pipes[rank] for rank in alive], timeout_s)
            assert ready, f"ranks {sorted(alive)} are silent"
            for rank in [rank for rank in alive if self.pipes[rank] in ready]:
                try:
                    kind, value = self.pipes[rank].recv()
                except EOFError:
                    alive.discard(rank)
                    continue
                if kind == "exchange":
                    messages[rank] = value
                    continue
                alive.discard(rank)
                assert kind == "result", f"rank {rank} failed:\n{value}"
                results[rank] = value
            if alive and alive <= messages.keys():
                everything = [messages.get(rank, b"") for rank in range(size)]
                messages = {}
                for rank in alive:
                    self.pipes[rank].send(everything)
        return results

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture
def ranks():
    """Starts groups of processes and ends them with the test."""
    groups: list[Ranks] = []

    def start(target: Callable[..., Any], size: int, *args: Any) -> Ranks:
        groups.append(Ranks(target, size, *args))
        return groups[-1]

    yield start
    for group in groups:
        group.stop()
