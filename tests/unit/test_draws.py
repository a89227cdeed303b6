"""The generator, and the law of drawing from the union of shards, with biased twins that must be found out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearse.buffers._draws import Draws, Purpose, Union
from support import laws

NUM_DRAWN = 7
NUM_ROUNDS = 4000
SHARDS = {
    "one rank": [60],
    "two equal": [30, 30],
    "two skewed": [48, 12],
    "five equal": [12, 12, 12, 12, 12],
    "five skewed": [30, 3, 17, 9, 1],
    "one empty": [0, 25, 5, 0, 20],
    "one item": [1, 29],
}


def draws(round_number=0, rank=0, seed=1, purpose=Purpose.REPRESENTATIVES):
    return Draws(seed, purpose, round_number, rank)


def uniform(counts, count, source):
    return Union(counts).draw(count, source)


def folded(counts, count, source):
    """Numbers of all slots, empty ones included, brought into range by a modulo."""
    return _distinct(count, lambda: source.below(max(counts) * len(counts)) % sum(counts))


def by_rank(counts, count, source):
    """A rank that has something, then one of its representatives."""
    ranks = [rank for rank, size in enumerate(counts) if size]

    def pick():
        rank = ranks[source.below(len(ranks))]
        return sum(counts[:rank]) + source.below(counts[rank])

    return _distinct(count, pick)


def without_the_first(counts, count, source):
    """Index 0 is never drawn."""
    return [number + 1 for number in Union([sum(counts) - 1]).draw(count, source)]


def with_repetition(counts, count, source):
    return [source.below(sum(counts)) for _ in range(count)]


def _distinct(count, pick):
    chosen = {}
    while len(chosen) < count:
        chosen[pick()] = None
    return list(chosen)


def sample(sampler, counts, rank=0, count=NUM_DRAWN, num_rounds=NUM_ROUNDS):
    return np.array([sampler(counts, count, draws(index, rank)) for index in range(num_rounds)])


def uniformity(sampler, counts):
    drawn = sample(sampler, counts)
    return laws.uniform(np.bincount(drawn.ravel(), minlength=sum(counts)), NUM_DRAWN)


@pytest.mark.parametrize("counts", SHARDS.values(), ids=SHARDS)
def test_every_representative_of_the_union_is_drawn_equally_often(counts):
    assert uniformity(uniform, counts) > laws.CREDIBLE


@pytest.mark.parametrize(
    ("twin", "shards"),
    [
        (folded, "two skewed"),
        (folded, "five skewed"),
        (folded, "one empty"),
        (by_rank, "two skewed"),
        (by_rank, "five skewed"),
        (by_rank, "one item"),
        (without_the_first, "one rank"),
    ],
)
def test_a_biased_twin_fails_the_same_test(twin, shards):
    assert uniformity(twin, SHARDS[shards]) < laws.IMPOSSIBLE


def test_the_finite_population_is_accounted_for():
    """Without the factor, the statistic of unbiased draws would be far too small."""
    counts = [20]
    drawn = [sample(uniform, counts, rank=rank, num_rounds=300) for rank in range(40)]
    values = [laws.uniform(np.bincount(rows.ravel(), minlength=20), NUM_DRAWN) for rows in drawn]
    assert 0.35 < np.mean(values) < 0.65
    assert np.mean([laws.uniform(np.bincount(rows.ravel(), minlength=20), 1) for rows in drawn]) > 0.7


def test_pairs_and_their_order_are_uniform():
    drawn = sample(uniform, [4, 1, 0, 7], num_rounds=20_000, count=3)
    assert laws.pairs_uniform(drawn, 12) > laws.CREDIBLE
    assert laws.pairs_uniform(np.sort(drawn, axis=1), 12) < laws.IMPOSSIBLE, "a sorted draw is no random order"


@pytest.mark.parametrize("place", [0, 3, 6])
def test_every_place_of_a_draw_is_uniform(place):
    drawn = sample(uniform, [9, 11])[:, place]
    assert laws.uniform(np.bincount(drawn, minlength=20), 1) > laws.CREDIBLE


def test_ranks_draw_independently():
    first, second = (sample(uniform, [10], rank=rank)[:, 0] for rank in (0, 1))
    assert laws.independent(first, second, 10) > laws.CREDIBLE
    assert laws.independent(first, first, 10) < laws.IMPOSSIBLE


def test_many_ranks_hit_as_many_shards_as_chance_says():
    """Seeds that differ by the rank only must not lead all ranks to the same shard in the first round."""
    num_ranks, expected = 128, 128 * (1 - (1 - 1 / 128) ** 128)
    owners = {Union([100] * num_ranks).draw(1, draws(0, rank))[0] // 100 for rank in range(num_ranks)}
    assert abs(len(owners) - expected) < 15


def test_insertion_and_representatives_have_sequences_of_their_own():
    pairs = [
        [draws(index, purpose=purpose).below(10) for purpose in (Purpose.INSERTION, Purpose.REPRESENTATIVES)]
        for index in range(NUM_ROUNDS)
    ]
    assert laws.independent(*np.transpose(pairs), 10) > laws.CREDIBLE


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 12), st.integers(0, 2**64 - 1))
def test_a_draw_is_distinct_and_complete(counts, count, seed):
    union = Union(counts)
    drawn = union.draw(count, draws(seed=seed))
    assert len(drawn) == len(set(drawn)) == min(count, len(union))
    assert all(0 <= number < len(union) for number in drawn)
    by_shard = [union.slots_of(rank, sorted(drawn)) for rank in range(len(counts))]
    assert sum(map(len, by_shard)) == len(drawn)
    assert all(0 <= slot < counts[rank] for rank, slots in enumerate(by_shard) for slot in slots)


def test_drawing_with_repetition_would_be_noticed():
    assert any(len(set(row)) < NUM_DRAWN for row in sample(with_repetition, [60], num_rounds=50))


def test_the_same_four_integers_give_the_same_choices():
    def choices(**position):
        return draws(**position).distinct(5, 1000)

    assert choices() == choices()
    assert len({tuple(choices(**changed)) for changed in ({}, {"seed": 2}, {"rank": 1}, {"round_number": 1})}) == 4


def philox(counter, key):
    """Philox4x64-10 as its paper defines it, in Python's integers."""
    counter, key = list(counter), list(key)
    for _ in range(10):
        low, high = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
        counter = [
            high >> 64 ^ counter[1] ^ key[0],
            high % 2**64,
            low >> 64 ^ counter[3] ^ key[1],
            low % 2**64,
        ]
        key = [(key[0] + 0x9E3779B97F4A7C15) % 2**64, (key[1] + 0xBB67AE8584CAA73B) % 2**64]
    return counter


@pytest.mark.parametrize("seed", [0, 1, 2**53 + 1, 2**63 + 5, 2**64 - 1])
def test_the_sequence_is_the_one_that_is_documented(seed):
    source = Draws(seed=seed, purpose=Purpose.REPRESENTATIVES, round_number=3, rank=2)
    words = [word for block in range(1, 7) for word in philox((block, 3, 2, 0), (seed, 2))]
    assert [source.below(1000) for _ in words] == [word * 1000 >> 64 for word in words]


def test_choices_are_pinned():
    """Another implementation must give these numbers; a change of them changes every result."""
    assert Draws(7, Purpose.INSERTION, 0, 0).distinct(6, 40) == [30, 39, 13, 12, 28, 19]


def test_words_that_would_favour_some_integers_are_drawn_again():
    source = draws()
    source._words = [2**64 - 1, 0]  # taken from the end: 0 · 3 is the surplus of 2**64 over 3 · (2**64 // 3)
    assert source.below(3) == 2
    source._words = [5, 0]
    assert source.below(4) == 0, "4 divides 2**64: nothing is in surplus"
    assert source._words == [5]


def test_cost_does_not_grow_with_the_population():
    source = draws()
    for population in (100, 10**6, 10**12):
        source._words = []
        before = source._generator.state["state"]["counter"][0]
        source.distinct(7, population)
        assert source._generator.state["state"]["counter"][0] - before <= 4
