import os
import time

import numpy as np
import psutil
import pytest
import torch

from rehearse.core.config import LoaderSection, plugin_config
from rehearse.core.errors import ConfigError, DataError
from rehearse.loaders.torch import TorchLoader
from support.splits import NumberedSplit, ProcessSplit, ReadOnlySplit, SpoiltSplit

STEPS = [np.array(step, dtype=np.int64) for step in ([5, 3, 11], [], [0], [7, 7, 2, 9], [1, 4])]


def loader(split, **options):
    return TorchLoader(plugin_config(LoaderSection(name="torch", **options)), split, split.labels[::-1])


def contents(minibatches):
    return [
        (minibatch.inputs.tolist(), minibatch.labels.tolist(), minibatch.indices.tolist()) for minibatch in minibatches
    ]


@pytest.fixture(scope="module")
def with_workers():
    """A loader whose workers serve several tests."""
    made = loader(NumberedSplit(12), num_workers=2, prefetch=1)
    yield made
    made.close()


def test_one_minibatch_per_step_in_order():
    split = NumberedSplit(12)
    found = list(loader(split).minibatches(STEPS, seed=None))
    assert [minibatch.indices.tolist() for minibatch in found] == [step.tolist() for step in STEPS]
    assert [minibatch.inputs[:, 0, 0, 0].tolist() for minibatch in found] == [step.tolist() for step in STEPS]
    assert [minibatch.labels.tolist() for minibatch in found] == [split.labels[::-1][step].tolist() for step in STEPS]
    assert found[1].inputs.shape == (0, 1, 1, 3)
    assert found[1].inputs.dtype == torch.int64


def test_workers_change_nothing(with_workers):
    in_process = loader(NumberedSplit(12))
    for seed in (1, None, 2):
        expected = contents(in_process.minibatches(STEPS, seed))
        assert contents(with_workers.minibatches(STEPS, seed)) == expected


def test_seeds_reach_the_split():
    made = loader(NumberedSplit(12))
    one, same, other = (contents(made.minibatches(STEPS, seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_a_new_pass_ends_the_one_before(with_workers):
    abandoned = with_workers.minibatches(STEPS, seed=1)
    next(abandoned)
    expected = contents(loader(NumberedSplit(12)).minibatches(STEPS[::-1], seed=4))
    assert contents(with_workers.minibatches(STEPS[::-1], seed=4)) == expected
    with pytest.raises(StopIteration):
        next(abandoned)


def test_no_steps_give_no_minibatches(with_workers):
    assert list(loader(NumberedSplit(12)).minibatches([], seed=1)) == []
    assert list(with_workers.minibatches([], seed=1)) == []


def test_the_global_generators_are_left_alone(with_workers):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for made in (with_workers, loader(NumberedSplit(12))):
        list(made.minibatches(STEPS, seed=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_inputs_are_the_array_that_the_split_made():
    split = NumberedSplit(12)
    (minibatch,) = loader(split).minibatches([np.array([3, 4])], seed=1)
    assert minibatch.inputs.data_ptr() == split.last.ctypes.data


def test_read_only_and_strided_arrays_are_copied():
    steps = [np.arange(12)[1::3]]
    steps[0].setflags(write=False)
    (minibatch,) = loader(ReadOnlySplit(12)).minibatches(steps, seed=1)
    minibatch.inputs.zero_()
    minibatch.indices.zero_()
    assert steps[0].tolist() == [1, 4, 7, 10]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_unreadable_sample_is_named(num_workers):
    made = loader(SpoiltSplit(12, 7, "data"), num_workers=num_workers)
    minibatches = made.minibatches(STEPS, seed=1)
    assert [len(next(minibatches).labels) for _ in range(3)] == [3, 0, 1]
    with pytest.raises(DataError, match=r"^photo-7\.jpg: not an image$"):
        next(minibatches)
    made.close()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bug_in_a_split_is_not_taken_for_bad_data(num_workers):
    made = loader(SpoiltSplit(12, 5, "bug"), num_workers=num_workers)
    with pytest.raises(ZeroDivisionError, match="a bug in fetch"):
        next(made.minibatches(STEPS, seed=1))
    made.close()


def test_a_dead_worker_is_an_error():
    made = loader(SpoiltSplit(12, 0, "kill"), num_workers=1)
    with pytest.raises(DataError, match=r"worker process died.*lower loader\.num_workers"):
        list(made.minibatches(STEPS, seed=1))
    made.close()


def test_close_stops_the_workers_even_in_the_middle_of_a_pass():
    made = loader(ProcessSplit(12), num_workers=2)
    minibatches = made.minibatches([np.array([1])] * 8, seed=1)
    seen = [next(minibatches).inputs[0, 0, 0].tolist() for _ in range(4)]
    workers, parents = {pid for pid, _ in seen}, {parent for _, parent in seen}
    assert len(workers) == 2
    assert os.getpid() not in workers | parents, "workers must not be forked from a process with MPI's threads"
    made.close()
    end_s = time.monotonic() + 10
    while any(map(psutil.pid_exists, workers)) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, workers))


def test_a_closed_loader_says_so():
    made = loader(NumberedSplit(12))
    made.close()
    with pytest.raises(RuntimeError, match="was closed"):
        next(made.minibatches(STEPS, seed=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_workers": -1}, "num_workers: .*greater than or equal to 0"),
        ({"prefetch": 0}, "prefetch: .*greater than or equal to 1"),
        ({"num_worker": 1}, "did you mean 'num_workers'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        loader(NumberedSplit(12), **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="pinned memory works here")
def test_pinned_memory_needs_cuda():
    with pytest.raises(ConfigError, match="pin_memory is true, but torch sees no CUDA device"):
        loader(NumberedSplit(12), pin_memory=True)
