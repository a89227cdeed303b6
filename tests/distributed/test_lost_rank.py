"""When a rank dies, all others end within seconds and say so in one line."""

import re
from pathlib import Path

import pytest

from support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "programs" / "lose_rank.py"
NUM_RANKS = 3
LIMIT_S = 10
LOST = re.compile(r"rehearse: \[rank (\d)\] error: lost a peer in [a-z_ ]+ after \d+\.\d s: \S.*\n")
NAMES_RANK = {
    "mpirun": r"Process name: \[\[\d+,1\],{rank}\]|process rank {rank} with PID",
    "horovodrun": r"Process {rank} exit with status code",
    "torchrun": r"rank +: {rank} ",
}


def lose(launcher, communicator, doomed, way):
    """The launch, after checking that it ended in time."""
    launch = run_ranks(NUM_RANKS, PROGRAM, communicator, doomed, way, launcher=launcher, timeout_s=90)
    assert not launch.timed_out, launch
    died_s = float(launch.ranks[doomed].stdout.removeprefix("dying at "))
    assert launch.ended_s - died_s < LIMIT_S, launch
    assert launch.exit_code != 0, launch
    return launch


def survivors(launch, doomed):
    return [rank for rank in launch.ranks if rank.rank != doomed]


@pytest.mark.world_size(NUM_RANKS)
@pytest.mark.parametrize(
    ("doomed", "way", "code", "said"),
    [
        (1, "kill", -9, ""),
        (0, "kill", -9, ""),
        (2, "exit", 17, ""),
        (1, "data", 4, r"rehearse: \[rank 1\] error: sample 3 cannot be read\n"),
        (1, "interrupt", 130, r"rehearse: \[rank 1\] interrupted\n"),
        (1, "bug", 1, r"rehearse: \[rank 1\] internal error:\nTraceback (?s:.*)ZeroDivisionError: a bug\n"),
    ],
)
def test_survivors_end_by_themselves(doomed, way, code, said):
    launch = lose("env", "torch", doomed, way)
    assert launch.ranks[doomed].exit_code == code, launch
    assert re.fullmatch(said, launch.ranks[doomed].stderr), launch
    for rank in survivors(launch, doomed):
        assert rank.exit_code == 5, launch
        line = LOST.fullmatch(rank.stderr)
        assert line, launch
        assert int(line[1]) == rank.rank


@pytest.mark.world_size(NUM_RANKS)
@pytest.mark.parametrize(("launcher", "communicator"), [("env", "torch"), ("horovodrun", "horovod")])
def test_a_rank_that_hangs_is_lost_after_the_time_limit(launcher, communicator):
    launch = run_ranks(NUM_RANKS, PROGRAM, communicator, 1, "hang", 5, launcher=launcher, timeout_s=90)
    hung_s = float(launch.ranks[1].stdout.removeprefix("dying at "))
    for rank in survivors(launch, 1):
        assert rank.exit_code == 5, launch
        assert LOST.fullmatch(rank.stderr), launch
        assert 4 < rank.ended_s - hung_s < 5 + LIMIT_S, launch


@pytest.mark.world_size(NUM_RANKS)
@pytest.mark.parametrize("way", ["kill", "data"])
@pytest.mark.parametrize(
    ("launcher", "communicator"),
    [("mpirun", "torch"), ("mpirun", "horovod"), ("horovodrun", "horovod"), ("torchrun", "torch")],
)
def test_launchers_end_survivors_or_let_them_speak(launcher, communicator, way):
    launch = lose(launcher, communicator, 1, way)
    spoke = []
    for rank in survivors(launch, 1):
        # A launcher may be quicker than the rank: then its SIGTERM or SIGKILL ends the rank in silence.
        assert rank.exit_code in (5, -15, None), launch
        assert LOST.fullmatch(rank.stderr) or not rank.stderr, launch
        assert rank.stderr or rank.exit_code != 5, launch
        spoke.append(bool(rank.stderr))
    if way == "data":
        assert "rehearse: [rank 1] error: sample 3 cannot be read" in launch.ranks[1].stderr, launch
    elif not any(spoke):
        assert re.search(NAMES_RANK[launcher].format(rank=1), launch.output), launch
