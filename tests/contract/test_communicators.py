"""Every registered communicator keeps the contract, at 1, 2 and 4 real ranks."""

import functools
import importlib.util
import json
from pathlib import Path

import pytest

from rehearse.core import registry
from support.ranks import run_ranks

PROGRAM = Path(__file__).with_name("communicator_checks.py")
LAUNCHERS = {"single": ["env"], "torch": ["env"], "horovod": ["mpirun", "horovodrun"]}


def checks():
    spec = importlib.util.spec_from_file_location("communicator_checks", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.CHECKS)


def group(name, launcher, num_ranks):
    marks = pytest.mark.world_size(num_ranks)
    return pytest.param(name, launcher, num_ranks, marks=marks, id=f"{name}-{launcher}-{num_ranks}")


GROUPS = [
    group(name, launcher, num_ranks)
    for name in registry.names("communicators")
    for launcher in LAUNCHERS.get(name, ["mpirun"])
    for num_ranks in ([1] if name == "single" else [1, 2, 4])
]


@functools.cache
def outcomes(name, launcher, num_ranks, *wanted):
    """What each rank printed; all checks share one launch, because starting ranks takes longest."""
    launch = run_ranks(num_ranks, PROGRAM, name, *wanted, launcher=launcher, timeout_s=200)
    lines = [[json.loads(line) for line in rank.stdout.splitlines()] for rank in launch.ranks]
    return launch, lines


@pytest.mark.parametrize("check", checks())
@pytest.mark.parametrize(("name", "launcher", "num_ranks"), GROUPS)
def test_keeps_the_contract(name, launcher, num_ranks, check):
    launch, lines = outcomes(name, launcher, num_ranks)
    for rank, said in enumerate(lines):
        found = [line for line in said if line.get("check") == check]
        assert found, f"rank {rank} did not get so far\n{launch}"
        assert found[0]["error"] is None, f"rank {rank}: {found[0]['error']}"


@pytest.mark.parametrize(("name", "launcher", "num_ranks"), GROUPS)
def test_leaves_in_order(name, launcher, num_ranks):
    launch, _ = outcomes(name, launcher, num_ranks)
    launch.check()
    assert [rank.stderr for rank in launch.ranks] == [""] * num_ranks


@pytest.mark.parametrize(("name", "launcher", "num_ranks"), [group for group in GROUPS if group.values[2] == 4])
def test_two_launches_train_to_the_same_bits(name, launcher, num_ranks):
    launches = [outcomes(name, launcher, num_ranks), outcomes(name, launcher, num_ranks, "trains_to_the_same_bits")]
    digests = [line["digest"] for _, lines in launches for said in lines for line in said if "digest" in line]
    assert len(digests) == 2 * num_ranks
    assert len(set(digests)) == 1
