import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearse.training.sharding import epoch_permutation, plan_epoch

POSITIONS = np.arange(100, 1100, 7)


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("num_samples", [1, 2, 5, 16, 47, 64, 143])
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_the_ranks_together_train_the_permutation_once(num_ranks, num_samples, batch_size):
    order = epoch_permutation(POSITIONS[:num_samples], seed=1, task=2, epoch=3)
    plans = [plan_epoch(order, batch_size, rank, num_ranks) for rank in range(num_ranks)]
    assert len({len(plan.steps) for plan in plans}) == 1, "ranks would wait for each other"
    trained = [position for plan in plans for step in plan.steps for position in step]
    assert sorted(trained) == sorted(POSITIONS[:num_samples])
    for index, num_global in enumerate(plans[0].num_global):
        assert sum(len(plan.steps[index]) for plan in plans) == num_global


@given(st.integers(1, 300), st.integers(1, 20), st.integers(1, 6))
def test_each_step_trains_what_one_rank_with_a_larger_minibatch_would(num_samples, batch_size, num_ranks):
    order = np.arange(num_samples)
    alone = plan_epoch(order, batch_size * num_ranks, 0, 1)
    together = [plan_epoch(order, batch_size, rank, num_ranks) for rank in range(num_ranks)]
    for index, step in enumerate(alone.steps):
        assert sorted(step) == sorted(np.concatenate([plan.steps[index] for plan in together]))
        sizes = [len(plan.steps[index]) for plan in together]
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= batch_size


def test_the_permutation_depends_on_seed_task_and_epoch_only():
    base = epoch_permutation(POSITIONS, seed=1, task=0, epoch=0)
    assert np.array_equal(base, epoch_permutation(POSITIONS, seed=1, task=0, epoch=0))
    for seed, task, epoch in [(2, 0, 0), (1, 1, 0), (1, 0, 1)]:
        assert not np.array_equal(base, epoch_permutation(POSITIONS, seed=seed, task=task, epoch=epoch))


def test_limit_batches_cuts_whole_steps():
    plan = plan_epoch(np.arange(100), 10, 0, 2, limit_batches=2)
    assert [len(step) for step in plan.steps] == [10, 10]
    assert plan.num_global == (20, 20)
