"""Ranks that believe to be on two nodes of a Slurm job meet in a store. Usage: meet_between_nodes.py PORT_OWNER"""

import os
import sys
from datetime import timedelta

from rehearse.communicators import _rendezvous
from rehearse.core.world import World

rank, size = os.environ["RANK"], os.environ["WORLD_SIZE"]
for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
    del os.environ[name]
os.environ |= {
    "SLURM_JOB_ID": sys.argv[1],
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": rank,
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": rank,
    "SLURM_STEP_NUM_TASKS": size,
    "SLURM_STEP_NUM_NODES": size,
    "SLURM_STEP_TASKS_PER_NODE": f"1(x{size})",
    "SLURM_STEP_NODELIST": "localhost",
}
world = World.from_env()
store = _rendezvous.open_store(world, os.environ, timedelta(seconds=20))
store.set(f"rank-{world.rank}", str(world.node))
store.wait([f"rank-{other}" for other in range(world.num_ranks)])
print([store.get(f"rank-{other}").decode() for other in range(world.num_ranks)])
store.set(f"done-{world.rank}", "")
store.wait([f"done-{other}" for other in range(world.num_ranks)])
