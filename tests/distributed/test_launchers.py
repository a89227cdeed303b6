"""Every launcher starts ranks that find their world and each other."""

import json
import os
import re
import stat
from pathlib import Path

import pytest

from support.ranks import run_ranks

PROGRAMS = Path(__file__).parent / "programs"


@pytest.mark.world_size(2)
@pytest.mark.parametrize(
    ("launcher", "communicator"),
    [
        ("mpirun", "horovod"),
        ("mpirun", "torch"),
        ("horovodrun", "horovod"),
        ("horovodrun", "torch"),
        ("torchrun", "torch"),
    ],
)
def test_ranks_find_each_other(launcher, communicator):
    launch = run_ranks(2, PROGRAMS / "say_world.py", communicator, launcher=launcher).check()
    for rank in launch.ranks:
        said = json.loads(rank.stdout)
        assert said["sum"] == 3
        assert said["world"] == {
            "rank": rank.rank,
            "num_ranks": 2,
            "local_rank": rank.rank,
            "local_num_ranks": 2,
            "node": 0,
            "num_nodes": 1,
            "launcher": launcher,
        }


@pytest.mark.world_size(2)
def test_the_users_network_interface_is_respected():
    launch = run_ranks(2, PROGRAMS / "say_world.py", "torch", env={"GLOO_SOCKET_IFNAME": "no-such-interface"})
    said = [rank.stderr for rank in launch.ranks if rank.exit_code == 5]
    assert said, launch
    assert re.search(r"the 2 ranks did not come together; rank \d gave up after .* s: .*no-such-interface", said[0])


@pytest.mark.world_size(2)
def test_horovod_under_torchrun_says_what_to_use():
    launch = run_ranks(2, PROGRAMS / "say_world.py", "horovod", launcher="torchrun")
    said = [rank.stderr for rank in launch.ranks if rank.exit_code == 5]
    assert said, launch
    assert all("Horovod sees rank 0 of 1, torchrun started rank" in text for text in said)
    assert all("set communicator.name to torch" in text for text in said)


@pytest.mark.world_size(2)
def test_single_refuses_two_ranks():
    launch = run_ranks(2, PROGRAMS / "say_world.py", "single", launcher="env")
    for rank in launch.ranks:
        assert rank.exit_code == 2
        assert "communicator single serves one rank, but environment started 2" in rank.stderr


@pytest.mark.world_size(2)
def test_ranks_on_several_nodes_meet_on_the_first(tmp_path):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\n[ "$1 $2 $3" = "show hostnames localhost" ] && echo localhost\n')
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    program = PROGRAMS / "meet_between_nodes.py"
    launch = run_ranks(2, program, os.getpid(), launcher="env", env={"PATH": path}).check()
    assert [rank.stdout.strip() for rank in launch.ranks] == ["['0', '1']"] * 2


@pytest.mark.world_size(2)
@pytest.mark.parametrize("launcher", ["env", "mpirun", "horovodrun", "torchrun"])
def test_ranks_that_never_end_are_killed(launcher):
    launch = run_ranks(
        2, "-c", "import time; print('up', flush=True); time.sleep(100)", launcher=launcher, timeout_s=12
    )
    assert launch.timed_out
    assert launch.seconds < 30
    assert [rank.stdout for rank in launch.ranks] == ["up\n"] * 2
    with pytest.raises(AssertionError, match="killed after"):
        launch.check()
