"""Runs in processes that ``rehearse doctor`` starts: import libraries, or be one rank of an allreduce.

``python -m rehearse.cli._doctor_probe torch horovod`` prints what the libraries say of themselves as JSON;
``python -m rehearse.cli._doctor_probe --rank torch`` joins the other ranks through that communicator.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib import metadata
from typing import Any

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


def describe_other(name: str) -> Facts:
    """Version of a library that needs torchvision."""
    ensure_torchvision()
    importlib.import_module(name)
    return {"found": metadata.version(name)}


def describe(name: str) -> Facts:
    """What a library says of itself, or why it cannot be imported."""
    known = {"torch": describe_torch, "torchvision": describe_torchvision, "horovod": describe_horovod}
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
