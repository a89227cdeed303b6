"""Loads minibatches with torch's DataLoader, in this process or in worker processes.

Workers are started by a fork server, never forked from the training process: a process that has
started Horovod's, MPI's or CUDA's threads must not be forked. Which worker loads a minibatch has no
influence on its content, so results are the same for any number of workers.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from rehearse.core.config import PluginConfig
from rehearse.core.errors import ConfigError, DataError
from rehearse.core.protocols import LoadedMinibatch, Loader, Split
from rehearse.core.registry import register


class TorchLoaderConfig(PluginConfig):
    """Options of the torch loader."""

    name: Literal["torch"] = "torch"
    num_workers: int = Field(default=0, ge=0, description="Worker processes per rank; 0 loads in the training process.")
    prefetch: int = Field(default=2, ge=1, description="Minibatches that each worker loads ahead.")
    pin_memory: bool | None = Field(
        default=None, description="Page-locked host memory, for faster copies; default: where torch sees CUDA."
    )


@dataclass(frozen=True, slots=True)
class _Request:
    """Positions of one minibatch and the seed of its crops."""

    positions: NDArray[np.int64]
    seed: int | None


class _Requests(Sampler[_Request]):
    """The requests of the current pass; DataLoader hands them to workers in order."""

    def __init__(self) -> None:
        self.current: list[_Request] = []

    def __iter__(self) -> Iterator[_Request]:
        return iter(self.current)

    def __len__(self) -> int:
        return len(self.current)


class _Fetcher(Dataset[Tensor | str]):
    """What a worker does: a minibatch's inputs, or the message of what went wrong.

    An exception would arrive wrapped into a worker's traceback; a message arrives as it is.
    """

    def __init__(self, split: Split) -> None:
        self._split = split

    def __getitem__(self, request: _Request) -> Tensor | str:
        try:
            inputs = self._split.fetch(request.positions.tolist(), request.seed)
        except DataError as error:
            return str(error)
        return _tensor(inputs)


@register
class TorchLoader(Loader):
    """One pass at a time: asking for the next one ends the one before."""

    Config = TorchLoaderConfig

    def __init__(self, config: TorchLoaderConfig, split: Split, labels: NDArray[np.int64]) -> None:
        has_cuda = torch.cuda.is_available()
        if config.pin_memory and not has_cuda:
            raise ConfigError("loader.pin_memory is true, but torch sees no CUDA device; leave it out")
        self._labels = np.ascontiguousarray(labels, dtype=np.int64)
        self._requests = _Requests()
        self._loader: DataLoader[Any] | None = DataLoader(
            _Fetcher(split),
            batch_size=None,  # a request already is a minibatch
            sampler=cast("Any", self._requests),
            num_workers=config.num_workers,
            persistent_workers=config.num_workers > 0,
            prefetch_factor=config.prefetch if config.num_workers else None,
            multiprocessing_context=_fork_server() if config.num_workers else None,
            pin_memory=has_cuda if config.pin_memory is None else config.pin_memory,
            # DataLoader draws a seed for workers at each pass: not from the global generator.
            generator=torch.Generator(),
        )
        self._pass: Generator[LoadedMinibatch, None, None] | None = None

    def minibatches(self, steps: Sequence[NDArray[np.int64]], seed: int | None) -> Iterator[LoadedMinibatch]:
        """Yield one minibatch per entry of ``steps``, in order, those of no samples included.

        Raises:
            DataError: A sample cannot be read (names the file), or a worker died.
        """
        self._end_pass()
        self._pass = self._minibatches(steps, seed)
        return self._pass

    def close(self) -> None:
        """Stop the workers; the loader cannot be used afterwards."""
        self._end_pass()
        self._loader = None

    def _end_pass(self) -> None:
        if self._pass is not None:
            self._pass.close()
            self._pass = None

    def _minibatches(
        self, steps: Sequence[NDArray[np.int64]], seed: int | None
    ) -> Generator[LoadedMinibatch, None, None]:
        if self._loader is None:
            raise RuntimeError("the loader was closed")
        self._requests.current = [_Request(positions, seed) for positions in steps]
        inputs = iter(self._loader)
        for positions in steps:
            yield LoadedMinibatch(
                inputs=_next(inputs),
                labels=_tensor(self._labels[positions]),
                indices=_tensor(positions),
            )


def _fork_server() -> BaseContext:
    """Starts workers from a clean process that has imported torch once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _next(inputs: Iterator[Tensor | str]) -> Tensor:
    try:
        loaded = next(inputs)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DataError(
            f"a loader's worker process died, perhaps for lack of memory; lower loader.num_workers ({error})"
        ) from None
    if isinstance(loaded, str):
        raise DataError(loaded)
    return loaded


def _tensor(array: NDArray[Any]) -> Tensor:
    """The array's own memory as a tensor; copied only where it is read-only or has gaps."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
