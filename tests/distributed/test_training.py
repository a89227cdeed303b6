"""Training with several real ranks: exact, in step, and the same again."""

from pathlib import Path

import pytest

from support import cells
from support.ranks import run_ranks

PYTHON = {"name": "python"}
FLYWEIGHT = {"name": "neomem"}
STANDARD = {"name": "neomem", "implementation": "standard"}
PROGRAM = Path(__file__).with_name("programs") / "watched_training.py"


def train(folder, dataset_dir, num_ranks, communicator, launcher, program=None, strategy="er", **choices):
    config = cells.write(
        folder,
        scaling=f"n1r{num_ranks}",
        strategy=strategy,
        experiment={"communicator": {"name": communicator}},
        **choices,
    )
    arguments = [program, config, dataset_dir] if program else ["-m", "rehearse", "train", config]
    if not program:
        arguments += ["--dataset-dir", dataset_dir]
    return run_ranks(num_ranks, *arguments, launcher=launcher, timeout_s=150).check()


@pytest.mark.parametrize(
    ("num_ranks", "communicator", "launcher", "buffer", "strategy"),
    [
        pytest.param(2, "horovod", "mpirun", FLYWEIGHT, "er", marks=pytest.mark.world_size(2)),
        pytest.param(3, "torch", "torchrun", STANDARD, "er", marks=pytest.mark.world_size(3)),
        pytest.param(4, "horovod", "mpirun", PYTHON, "er", marks=pytest.mark.world_size(4)),
        pytest.param(2, "torch", "torchrun", FLYWEIGHT, "agem", marks=pytest.mark.world_size(2)),
        pytest.param(4, "horovod", "mpirun", FLYWEIGHT, "derpp", marks=pytest.mark.world_size(4)),
        pytest.param(2, "horovod", "mpirun", PYTHON, "der", marks=pytest.mark.world_size(2)),
    ],
)
def test_ranks_stay_bit_equal_and_train_each_sample_once(
    tmp_path, dataset_dir, num_ranks, communicator, launcher, buffer, strategy
):
    choices = {"training": {"batch_size": 7}, "buffer": buffer, "strategy": strategy}
    launch = train(tmp_path, dataset_dir, num_ranks, communicator, launcher, PROGRAM, **choices)
    assert "steps watched" in launch.ranks[0].stdout


@pytest.mark.parametrize(
    ("num_ranks", "communicator", "launcher", "buffers"),
    [
        pytest.param(2, "horovod", "horovodrun", [FLYWEIGHT, STANDARD], marks=pytest.mark.world_size(2)),
        pytest.param(2, "torch", "mpirun", [PYTHON, PYTHON], marks=pytest.mark.world_size(2)),
        pytest.param(4, "torch", "torchrun", [FLYWEIGHT, STANDARD], marks=pytest.mark.world_size(4)),
        pytest.param(4, "horovod", "mpirun", [FLYWEIGHT, FLYWEIGHT], marks=pytest.mark.world_size(4)),
    ],
)
def test_the_same_seed_and_ranks_repeat_bit_for_bit(tmp_path, dataset_dir, num_ranks, communicator, launcher, buffers):
    """Also where the buffer places its minibatches elsewhere: `standard` and `flyweight` train the same."""
    runs = []
    for name, buffer in zip(("first", "again"), buffers, strict=True):
        train(tmp_path / name, dataset_dir, num_ranks, communicator, launcher, buffer=buffer)
        runs.append(cells.results(tmp_path / name))
    (first, first_matrix), (again, again_matrix) = runs
    assert first.num_ranks == num_ranks
    assert first.parameter_sha256 == again.parameter_sha256
    assert first_matrix == again_matrix
    assert sum(count for fill in first.buffer_fill for count in fill.values()) <= first.buffer["budget_slots"]
