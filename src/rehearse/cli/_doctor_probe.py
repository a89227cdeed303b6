"""Runs in processes that ``rehearse doctor`` starts: import libraries, or be one rank of an allreduce.

``python -m rehearse.cli._doctor_probe torch horovod`` prints what the libraries say of themselves as JSON;
``python -m rehearse.cli._doctor_probe --rank torch`` joins the other ranks through that communicator.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

import numpy as np

from rehearse.core.torchvision_shim import ensure_torchvision

Facts = dict[str, Any]


def describe_torch() -> Facts:
    """Version, the CUDA it was built for, and the GPUs it finds."""
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    return {
        "found": f"{torch.__version__}, built for {build}",
        "cuda": torch.version.cuda,
        "num_devices": torch.cuda.device_count(),
    }


def describe_torchvision() -> Facts:
    """Version, and whether its own extension or our stand-in is loaded."""
    kind = ensure_torchvision()
    version = importlib.import_module("torchvision").__version__
    notes = {"native": "own operators", "shim": "without operators, as beside a CPU torch"}
    return {"found": f"{version}, {notes.get(kind, kind)}"}


def describe_horovod() -> Facts:
    """Version, and what was built in."""
    horovod: Any = importlib.import_module("horovod.torch")
    built = {
        "MPI": bool(horovod.mpi_built()),
        "Gloo": bool(horovod.gloo_built()),
        "NCCL": bool(horovod.nccl_built()),
    }
    names = ", ".join(name for name, there in built.items() if there)
    return {"found": f"{importlib.import_module('horovod').__version__} with {names or 'nothing'}", **built}


def describe_neomem() -> Facts:
    """Version, and the transports over which two ranks get each other's representatives."""
    engine: Any = importlib.import_module("neomem")
    working = [name for name in ("shm", "tcp", "ofi") if rehearses(engine, name)]
    return {"found": f"{engine.__version__} over {', '.join(working) or 'nothing'}", "transports": working}


def rehearses(engine: Any, transport: str) -> bool:
    """Whether two ranks, here threads, see what both have offered."""
    meeting, messages = threading.Barrier(2, timeout=10), [b"", b""]

    def be(rank: int) -> int:
        def exchange(message: bytes) -> list[bytes]:
            messages[rank] = message
            meeting.wait()
            found = list(messages)
            meeting.wait()
            return found

        options = {"budget": 2, "num_classes": 1, "rank": rank, "size": 2, "exchange": exchange, "transport": transport}
        with engine.Memory({"inputs": ("uint8", (1,))}, **options) as memory:
            memory.offer({"inputs": np.zeros((1, 1), np.uint8)}, np.zeros(1, np.int64), wait=True)
            drawn = len(memory.sample())
            meeting.wait()
        return drawn

    with ThreadPoolExecutor(2) as pool:
        ranks = [pool.submit(be, rank) for rank in range(2)]
    return not any(rank.exception() for rank in ranks) and [rank.result() for rank in ranks] == [2, 2]


def describe_other(name: str) -> Facts:
    """Version of a library that needs torchvision."""
    ensure_torchvision()
    importlib.import_module(name)
    return {"found": metadata.version(name)}


def describe(name: str) -> Facts:
    """What a library says of itself, or why it cannot be imported."""
    known = {
        "torch": describe_torch,
        "torchvision": describe_torchvision,
        "horovod": describe_horovod,
        "neomem": describe_neomem,
    }
    try:
        return known[name]() if name in known else describe_other(name)
    except Exception as error:  # a broken library raises anything
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}


def be_a_rank(communicator_name: str) -> float:
    """Join the other ranks and sum ``rank + 1`` over them."""
    import torch

    from rehearse.core.config import CommunicatorSection, plugin_config
    from rehearse.core.registry import get
    from rehearse.core.world import World

    world = World.from_env()
    config = plugin_config(CommunicatorSection(name=communicator_name))
    communicator = get("communicators", communicator_name)(config, world)
    total = communicator.allreduce(torch.tensor([float(world.rank + 1)]), op="sum").item()
    communicator.close()
    return float(total)


def main(arguments: list[str]) -> None:
    """Do what the command line says and print the answer on the last line."""
    if arguments[0] == "--rank":
        answer = f"sum over ranks: {be_a_rank(arguments[1])}"
    else:
        answer = json.dumps({name: describe(name) for name in arguments})
    sys.stdout.write(answer + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
