"""Laws of insertion: who enters, who makes room; biased twins must fail the same tests."""

import numpy as np

from rehearse.buffers._draws import Draws, Purpose
from rehearse.buffers._policies import ClassQuota, Reservoir
from rehearse.buffers._quotas import FixedQuotas, SharedQuotas
from rehearse.buffers._shard import Layout, Shard
from support import laws
from support.rehearsing import FIELDS, check_shard, samples

NUM_OFFERS = 3000


def policy_draws(index):
    return Draws(11, Purpose.INSERTION, index, 0)


def new_shard(capacity):
    return Shard(capacity, Layout({}))


def entered(policy, labels, shard, index):
    return policy.insert(labels, shard, policy_draws(index))


def test_each_sample_of_a_minibatch_enters_with_probability_c_over_b():
    """While there is room and when the class is full; exactly c of b each time."""
    quotas = SharedQuotas(40, 1, 0)
    for prefilled in (0, 40):
        counts = np.zeros(10)
        for index in range(NUM_OFFERS):
            shard = new_shard(40)
            for _ in range(prefilled):
                shard.claim(0)
            rows = entered(ClassQuota(3, quotas), [0] * 10, shard, index).rows.values()
            assert len(set(rows)) == 3
            counts[list(rows)] += 1
        assert laws.uniform(counts, 3) > laws.CREDIBLE


def test_candidates_of_a_mixed_minibatch_do_not_depend_on_their_class():
    counts = np.zeros(12)
    quotas = FixedQuotas(90, 1, 0, 3)
    for index in range(NUM_OFFERS):
        insertion = entered(ClassQuota(4, quotas), [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2], new_shard(90), index)
        counts[list(insertion.rows.values())] += 1
    assert laws.uniform(counts, 4) > laws.CREDIBLE


def test_victims_are_distinct_and_uniform_within_their_class():
    counts = np.zeros(15)
    for index in range(NUM_OFFERS):
        shard = new_shard(30)
        for slot in range(30):
            shard.claim(slot % 2)
        insertion = entered(ClassQuota(4, FixedQuotas(30, 1, 0, 2)), [1] * 9, shard, index)
        assert len(insertion.rows) == insertion.num_evicted == 4
        assert all(slot % 2 for slot in insertion.rows)
        counts[[slot // 2 for slot in insertion.rows]] += 1
    assert laws.uniform(counts, 4) > laws.CREDIBLE


def test_a_new_class_evicts_uniformly():
    survivors = np.zeros(20)
    for index in range(NUM_OFFERS):
        quotas = SharedQuotas(20, 1, 0, seen=[0])
        shard = Shard(20, Layout(FIELDS))
        slots = [shard.claim(0) for _ in range(20)]
        shard.write(slots, {"inputs": samples(range(20), [0] * 20).inputs}, slots)
        insertion = entered(ClassQuota(1, quotas), [1], shard, index)
        assert insertion.num_evicted == 10
        assert shard.fill() == {0: 10, 1: 1}
        check_shard(shard)
        kept = shard.fields["inputs"][list(shard.slots_of(0))].reshape(-1, 8)[:, 0].tolist()
        survivors[kept] += 1
    assert laws.uniform(survivors, 10) > laws.CREDIBLE


def mean_age(num_rounds=6000, every=40):
    """Mean number of offers since the representatives of a full class entered."""
    policy, shard = ClassQuota(2, FixedQuotas(20, 1, 0, 1)), new_shard(20)
    born, ages = {}, []
    for index in range(num_rounds):
        born.update(dict.fromkeys(entered(policy, [0] * 8, shard, index).rows, index))
        if index >= 1000 and index % every == 0:
            ages.extend(index - start for start in born.values())
    return np.mean(ages), 4 * np.std(ages) / np.sqrt(len(ages))


def test_the_age_of_representatives_is_geometric(monkeypatch):
    """Each offer replaces c of Q: mean age Q/c - 1 offers, that is Q·b/c samples but for the current minibatch."""
    mean, tolerance = mean_age()
    assert abs(mean - (20 / 2 - 1)) < tolerance
    # The twin always replaces the slots that come first.
    monkeypatch.setattr(Draws, "distinct", lambda self, count, population: list(range(count)))
    mean, tolerance = mean_age()
    assert abs(mean - (20 / 2 - 1)) > 5 * tolerance


def test_more_candidates_than_quota_leave_a_random_choice_of_them():
    counts = np.zeros(8)
    for index in range(NUM_OFFERS):
        insertion = entered(ClassQuota(8, FixedQuotas(3, 1, 0, 1)), [0] * 8, new_shard(3), index)
        assert len(insertion.rows) == 3
        counts[list(insertion.rows.values())] += 1
    assert laws.uniform(counts, 3) > laws.CREDIBLE


def reservoir_inclusion(forget=False):
    """p-value of uniform inclusion of 60 samples, offered 7 at a time, into 12 slots."""
    counts = np.zeros(60)
    for seed in range(1500):
        policy, shard, content = Reservoir(), new_shard(12), {}
        for index, start in enumerate(range(0, 60, 7)):
            if forget:
                policy.load_state_dict({"num_seen": min(start, 12)})
            labels = [0] * min(7, 60 - start)
            insertion = policy.insert(labels, shard, Draws(seed, Purpose.INSERTION, index, 0))
            content.update({slot: start + row for slot, row in insertion.rows.items()})
        assert len(set(content.values())) == 12
        counts[list(content.values())] += 1
    return laws.uniform(counts, 12)


def test_the_reservoir_keeps_every_sample_with_the_same_probability():
    assert reservoir_inclusion() > laws.CREDIBLE
    assert reservoir_inclusion(forget=True) < laws.IMPOSSIBLE, "a lost counter favours the present"
