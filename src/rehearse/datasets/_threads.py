"""Work on many files at once: decoding and hashing release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rehearse.core.protocols import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")
_MAX_THREADS = min(8, os.cpu_count() or 1)
# A million waiting futures would take a gigabyte, and an interrupt would wait for them.
_BLOCK = 1024


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], progress: Progress, what: str
) -> Iterator[Result]:
    """Apply a function to all items; results come in order, the first error ends it."""
    with ThreadPoolExecutor(_MAX_THREADS) as pool:
        try:
            for start in range(0, len(items), _BLOCK):
                for done, result in enumerate(pool.map(function, items[start : start + _BLOCK]), start + 1):
                    progress(what, done, len(items))
                    yield result
        finally:
            pool.shutdown(cancel_futures=True)
