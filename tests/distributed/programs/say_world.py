"""Joins the other ranks and prints what it sees. Usage: say_world.py COMMUNICATOR"""

import json
import os
import sys
from dataclasses import asdict

import torch

from rehearse.core import registry
from rehearse.core.errors import RehearseError
from rehearse.core.world import World

name = sys.argv[1]
world = World.from_env()
try:
    kind = registry.get("communicators", name)
    communicator = kind(kind.Config(name=name), world)
except RehearseError as error:
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()
    os._exit(error.exit_code)
total = communicator.allreduce(torch.tensor([world.rank + 1]), "sum").item()
print(json.dumps({"world": asdict(world), "sum": total}))
communicator.close()
