"""Times one way of drawing 64 records from a buffer in memory, beside numpy's gather of as many.

python sample_in_process.py WAY SHAPE DTYPE ITEMS: prints ``operation_us gather_us`` once per block.
The interpreter must have what WAY needs; each block times both in turn.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

DRAWS, BLOCKS, MIN_REPEATS, BLOCK_S = 64, 5, 7, 0.5


def neomem_way(data: np.ndarray) -> Callable[[], object]:
    """The engine's draw on the calling thread."""
    import neomem

    memory = neomem.Memory(
        {"x": (str(data.dtype), data.shape[1:])},
        budget=len(data),
        num_classes=1,
        candidates=64,
        representatives=DRAWS,
        max_batch=64,
    )
    for start in range(0, len(data), 64):
        rows = np.ascontiguousarray(data[start : start + 64])
        memory.offer({"x": rows}, np.zeros(len(rows), np.int64), wait=True)
    return lambda: memory.sample().fields["x"]


def cpprb_way(data: np.ndarray) -> Callable[[], object]:
    """Uniform buffer of cpprb."""
    import cpprb

    buffer = cpprb.ReplayBuffer(len(data), {"x": {"shape": data.shape[1:], "dtype": data.dtype}})
    for start in range(0, len(data), 64):
        buffer.add(x=data[start : start + 64])
    return lambda: buffer.sample(DRAWS)["x"]


def torchrl_way(data: np.ndarray) -> Callable[[], object]:
    """TorchRL's replay buffer over contiguous storage."""
    import torch
    from tensordict import TensorDict
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
    from torchrl.data.replay_buffers.samplers import SamplerWithoutReplacement

    buffer = TensorDictReplayBuffer(
        storage=LazyTensorStorage(len(data)), sampler=SamplerWithoutReplacement(), batch_size=DRAWS
    )
    buffer.extend(TensorDict({"x": torch.from_numpy(data)}, batch_size=[len(data)]))
    return lambda: buffer.sample()["x"]


def reverb_way(data: np.ndarray) -> Callable[[], object]:
    """Reverb's server in this process, its client's samples."""
    import reverb

    server = reverb.Server(
        [
            reverb.Table(
                "t",
                reverb.selectors.Uniform(),
                reverb.selectors.Fifo(),
                max_size=len(data),
                rate_limiter=reverb.rate_limiters.MinSize(1),
            )
        ]
    )
    client = reverb.Client(f"localhost:{server.port}")
    for row in data:
        client.insert([row], {"t": 1.0})
    sampler = client.sample("t", num_samples=10**9)
    return lambda: (np.stack([next(sampler)[0].data[0] for _ in range(DRAWS)]), server)


def avalanche_way(data: np.ndarray) -> Callable[[], object]:
    """What Avalanche's replay does: a data loader over the buffer's subset, rows collated one by one."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    dataset = TensorDataset(torch.from_numpy(data), torch.zeros(len(data), dtype=torch.int64))

    def minibatches() -> object:
        while True:
            yield from DataLoader(dataset, batch_size=DRAWS, shuffle=True, drop_last=True)

    stream = minibatches()
    return lambda: next(stream)


def mammoth_way(data: np.ndarray) -> Callable[[], object]:
    """What Mammoth's buffer does: a choice without replacement, then a stack of the rows."""
    import torch

    examples = torch.from_numpy(data)

    def draw() -> object:
        choice = np.random.choice(len(examples), size=DRAWS, replace=False)
        return torch.stack(list(examples[torch.from_numpy(choice)]))

    return draw


def rpc_way(data: np.ndarray) -> Callable[[], object]:
    """torch.distributed.rpc: rows of another process' buffer, asked for by a call."""
    import os

    import torch
    from torch.distributed import rpc

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29677")
    context = torch.multiprocessing.get_context("spawn")
    owner = context.Process(target=_serve_rpc, args=(data.shape, str(data.dtype)), daemon=True)
    owner.start()
    _helpers.append(owner)
    rpc.init_rpc("reader", rank=0, world_size=2)

    def draw() -> object:
        rows = torch.from_numpy(np.random.choice(len(data), size=DRAWS, replace=False))
        return rpc.rpc_sync("owner", _rows_of_owner, args=(rows,))

    return draw


_owned: list[object] = []
_helpers: list[Any] = []


def _rows_of_owner(rows: object) -> object:
    return _owned[0][rows]  # type: ignore[index]


def _serve_rpc(shape: tuple[int, ...], dtype: str) -> None:
    import os

    import torch
    from torch.distributed import rpc

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29677")
    _owned.append(torch.from_numpy(np.ones(shape, dtype)))
    rpc.init_rpc("owner", rank=1, world_size=2)
    time.sleep(600)


def main() -> None:
    """Time both ways in turn and print medians by block."""
    way, shape, dtype, items = sys.argv[1], tuple(map(int, sys.argv[2].split("x"))), sys.argv[3], int(sys.argv[4])
    data = np.ones((items, *shape), dtype)
    draw = globals()[f"{way}_way"](data)
    # As many places as the engine has: samples of earlier draws stay valid.
    places = [np.empty((DRAWS, *shape), dtype) for _ in range(3)]
    random = np.random.default_rng(1)

    def gather() -> None:
        places.append(places.pop(0))
        np.take(data, random.integers(0, items, DRAWS), axis=0, out=places[0], mode="clip")

    for _ in range(BLOCKS):
        times: dict[Callable[[], object], list[float]] = {draw: [], gather: []}
        end = time.perf_counter() + BLOCK_S
        while len(times[draw]) < MIN_REPEATS or time.perf_counter() < end:
            for operation, spans in times.items():
                start = time.perf_counter()
                operation()
                spans.append(1e6 * (time.perf_counter() - start))
        print(*(round(statistics.median(spans), 2) for spans in times.values()), flush=True)


if __name__ == "__main__":
    main()
    for helper in _helpers:
        helper.kill()
    sys.stdout.flush()
    __import__("os")._exit(0)  # servers and helpers of the peers need not end in order
