"""Buffers between real processes give, bit for bit, what they give between threads."""

import json
import os
from pathlib import Path

import pytest

from support.fake_ranks import run_fake_ranks
from support.ranks import run_ranks
from support.rehearsing import trace

PROGRAM = Path(__file__).with_name("programs") / "trace_buffer.py"
TESTS = Path(__file__).parents[1]
LAWS = [{"policy": policy, "scope": scope} for policy in ("class_quota", "reservoir") for scope in ("global", "local")]
VARIANTS = [
    *({"name": "python", **law} for law in LAWS),
    *({"name": "neomem", **law} for law in LAWS),
    {"name": "neomem", "transport": "tcp"},
    {"name": "neomem", "implementation": "standard", "transport": "shm", "policy": "fifo"},
    {"name": "neomem", "scope": "node", "policy": "balanced"},
]


@pytest.mark.parametrize(
    ("num_ranks", "communicator", "launcher"),
    [
        pytest.param(2, "horovod", "mpirun", marks=pytest.mark.world_size(2)),
        pytest.param(4, "torch", "torchrun", marks=pytest.mark.world_size(4)),
    ],
)
def test_processes_draw_and_store_what_threads_do(num_ranks, communicator, launcher):
    arguments = (PROGRAM, communicator, json.dumps(VARIANTS))
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    launch = run_ranks(num_ranks, *arguments, launcher=launcher, env={"PYTHONPATH": path}, timeout_s=150).check()
    found = [json.loads(rank.stdout.splitlines()[-1]) for rank in launch.ranks]
    for index, variant in enumerate(VARIANTS):
        rounds = [rank[index] for rank in found]
        assert rounds == run_fake_ranks(num_ranks, lambda fake, variant=variant: trace(fake, **variant)), variant
        assert all(sum(sum(rank[number][2].values()) for rank in rounds) <= 17 for number in range(len(rounds[0])))
        assert all(rank[-1][0] for rank in rounds), "every rank drew something in the end"
        drawn = [sum(len(rank[number][0]) for rank in rounds) for number in range(len(rounds[0]))]
        assert drawn == [num_global for _, num_global, _ in rounds[0]]
