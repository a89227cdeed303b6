"""The reference buffer: budget, quotas, laws of insertion, exchange between ranks, state."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rehearse.buffers._draws import Union
from rehearse.buffers._shard import Layout
from rehearse.core.errors import CheckpointError, CommunicationError, RehearsalError
from rehearse.core.protocols import RecordField
from rehearse.core.rehearsal import class_quota, class_total, shard_capacity
from support import laws
from support.fake_ranks import run_fake_ranks
from support.rehearsing import (
    EMPTY,
    FIELDS,
    WITH_LOGITS,
    buffer,
    check_shard,
    identities,
    logits_of,
    samples,
    through_a_checkpoint,
)


def alone(function):
    """Call a function with the communicator of a single rank."""
    return run_fake_ranks(1, function)[0]


def stored(rehearsal):
    """Identities in this rank's shard, by slot."""
    shard = rehearsal._shard
    labels, fields = shard.layout.unpack(shard.pack(range(shard.size)))
    return identities(type(EMPTY)(inputs=fields["inputs"], labels=labels, num_global=len(labels)))


# --- budget, quotas, distinct draws: whatever is offered ---------------------------------------


@st.composite
def schedules(draw):
    """(ranks, budget, classes, options, label lists by round and rank)."""
    num_ranks, num_classes = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    rounds = st.lists(
        st.tuples(*[st.lists(st.integers(0, num_classes - 1), max_size=9) for _ in range(num_ranks)]),
        min_size=1,
        max_size=8,
    )
    options = {
        "policy": draw(st.sampled_from(["class_quota", "reservoir"])),
        "scope": draw(st.sampled_from(["global", "local"])),
        "fixed_classes": draw(st.booleans()),
        "num_candidates": draw(st.integers(1, 10)),
        "num_representatives": draw(st.integers(1, 6)),
    }
    return num_ranks, draw(st.integers(1, 24)), num_classes, options, draw(rounds)


def follow(communicator, budget, num_classes, options, rounds):
    """Offer a schedule; what was stored and drawn after each round, with one rank's own checks."""
    rank, history = communicator.world.rank, []
    rehearsal = buffer(communicator, budget, num_classes=num_classes, **options)
    first = rehearsal.take()[0]
    assert len(first) == first.num_global == 0
    for number, labels in enumerate(rounds):
        own = [1000 * number + 100 * rank + row for row in range(len(labels[rank]))]
        rehearsal.offer(samples(own, labels[rank], num_ranks=communicator.world.num_ranks))
        check_shard(rehearsal._shard)
        taken = rehearsal.take()[0]
        history.append((stored(rehearsal), identities(taken), taken.num_global, rehearsal.fill()))
    return history


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules())
def test_budget_quotas_and_draws_hold_for_every_schedule(schedule):
    num_ranks, budget, num_classes, options, rounds = schedule
    histories = run_fake_ranks(num_ranks, lambda comm: follow(comm, budget, num_classes, options, rounds))
    for per_rank in zip(*histories, strict=True):
        shards = [rank[0] for rank in per_rank]
        assert sum(map(len, shards)) <= budget
        assert all(len(shard) <= shard_capacity(budget, num_ranks, rank) for rank, shard in enumerate(shards))
        union = [identity for shard in shards for identity in shard]
        assert len(set(union)) == len(union), "no sample is stored twice"
        for rank, (shard, drawn, num_global, fill) in enumerate(per_rank):
            available = union if options["scope"] == "global" else shard
            assert len(set(drawn)) == len(drawn) == min(options["num_representatives"], len(available))
            assert set(drawn) <= set(available)
            assert num_global == sum(len(other[1]) for other in per_rank)
            if options["policy"] == "class_quota" and options["fixed_classes"]:
                assert all(
                    held <= class_quota(budget, num_classes, label, num_ranks, rank) for label, held in fill.items()
                )


@pytest.mark.parametrize("fixed_classes", [False, True])
@pytest.mark.parametrize("budget", [2, 7, 16, 61])
def test_past_classes_keep_their_part_of_the_budget(budget, fixed_classes):
    """Classes one after another; also where a class has fewer slots than there are ranks."""
    num_ranks, num_classes = 5, 8

    def stream(communicator):
        options = {"num_candidates": 6, "fixed_classes": fixed_classes}
        rehearsal = buffer(communicator, budget, num_classes=num_classes, **options)
        for label in range(num_classes):
            for _ in range(10):
                rehearsal.offer(samples(range(6), [label] * 6))
        return rehearsal.fill()

    fills = run_fake_ranks(num_ranks, stream)
    totals = [sum(fill.get(label, 0) for fill in fills) for label in range(num_classes)]
    assert totals == [class_total(budget, num_classes, label) for label in range(num_classes)]


# --- the reservoir over several ranks ------------------------------------------------------------


@pytest.mark.parametrize(("num_ranks", "budget", "per_rank"), [(2, 10, 25), (5, 15, 9)])
def test_the_reservoir_is_uniform_over_all_ranks(num_ranks, budget, per_rank):
    def one_run(communicator):
        content = []
        for seed in range(400):
            rehearsal = buffer(communicator, budget, seed=seed, policy="reservoir", num_candidates=1)
            first = communicator.world.rank * per_rank
            for start in range(first, first + per_rank, 4):
                rows = range(start, min(start + 4, first + per_rank))
                rehearsal.offer(samples(rows, [row % 3 for row in rows]))
            content += stored(rehearsal)
        return content

    held = np.concatenate(run_fake_ranks(num_ranks, one_run))
    counts = np.bincount(held, minlength=num_ranks * per_rank)
    assert counts.sum() == 400 * budget
    # Each rank keeps exactly its share, so the statistic has one degree of freedom less per rank.
    for rank in range(num_ranks):
        own = counts[rank * per_rank : (rank + 1) * per_rank]
        assert laws.uniform(own, budget / num_ranks) > laws.CREDIBLE / num_ranks


# --- draws through the exchange ------------------------------------------------------------------

FILLS = {1: [30], 2: [17, 3], 5: [12, 1, 0, 7, 10]}


def drawn_counts(num_ranks, num_rounds=1200):
    """p-value of equal counts of all representatives, over all ranks' draws from shards of unequal fill."""
    sizes, total = FILLS[num_ranks], sum(FILLS[num_ranks])

    def run(communicator):
        rank, counts = communicator.world.rank, np.zeros(total)
        rehearsal = buffer(communicator, 30 * num_ranks, policy="reservoir", num_representatives=5)
        held = np.arange(sizes[rank]) + sum(sizes[:rank])
        rehearsal.offer(samples(held, held % 4))
        for _ in range(num_rounds):
            counts[identities(rehearsal.take()[0])] += 1
            rehearsal.offer(EMPTY)
        return counts

    return laws.uniform(sum(run_fake_ranks(num_ranks, run)), 5)


@pytest.mark.parametrize("num_ranks", FILLS)
def test_what_ranks_receive_is_uniform_over_the_union(num_ranks):
    assert drawn_counts(num_ranks) > laws.CREDIBLE


def test_a_buffer_that_chooses_ranks_first_fails_the_same_test(monkeypatch):
    def by_rank(union, count, draws):
        chosen = {}
        while len(chosen) < count:
            rank = draws.below(len(union._starts))
            if union._ends[rank] > union._starts[rank]:
                size = union._ends[rank] - union._starts[rank]
                chosen[union._starts[rank] + draws.below(size)] = None
        return list(chosen)

    monkeypatch.setattr(Union, "draw", by_rank)
    assert drawn_counts(5, num_rounds=300) < laws.IMPOSSIBLE


def test_local_scope_draws_from_the_own_shard_and_knows_the_global_number():
    def run(communicator):
        rank = communicator.world.rank
        rehearsal = buffer(communicator, 30, scope="local", policy="reservoir", num_representatives=5)
        rehearsal.offer(samples([100 * rank + row for row in range(rank * 4)], [rank] * (rank * 4)))
        return identities(rehearsal.take()[0]), rehearsal.take()[0].num_global, rehearsal.stats()["bytes_exchanged"]

    (none, *first), (four, *_), (five, *_) = run_fake_ranks(3, run)
    assert (len(none), len(four), len(five)) == (0, 4, 5)
    assert first == [9, 0]
    assert all(identity // 100 == 1 for identity in four)
    assert all(identity // 100 == 2 for identity in five)


def test_ranks_in_different_rounds_are_told_so():
    def run(communicator):
        rehearsal = buffer(communicator, 8)
        rehearsal._round = communicator.world.rank
        rehearsal.offer(EMPTY)

    with pytest.raises(CommunicationError, match=r"different rounds, \[0, 1\] in rank order"):
        run_fake_ranks(2, run)


def test_exchange_is_counted_once_per_representative():
    def run(communicator):
        rehearsal = buffer(communicator, 4, policy="reservoir", num_representatives=4)
        rank = communicator.world.rank
        rehearsal.offer(samples([2 * rank, 2 * rank + 1], [rank] * 2))
        return rehearsal.stats()

    stats = run_fake_ranks(2, run)[1]
    assert stats["bytes_exchanged"] == 2 * (8 + 8), "two representatives of the other rank: a label and 8 bytes each"
    assert stats["drawn"] == 4
    assert stats["rounds"] == 1


# --- what is stored ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("policy", ["class_quota", "reservoir"])
def test_logits_are_those_of_the_sample_they_are_stored_with(dtype, policy):
    fields = {**FIELDS, "logits": RecordField(dtype=dtype, shape=(3,))}

    def run(communicator):
        rank = communicator.world.rank
        rehearsal = buffer(communicator, 24, fields=fields, policy=policy, num_representatives=9)
        for start in range(0, 200, 8):
            own = torch.arange(start, start + 8) + 1000 * rank
            minibatch = samples(own, own % 5, fields=fields)
            minibatch.targets["logits"] = logits_of(own).to(getattr(torch, dtype))
            rehearsal.offer(minibatch)
            taken = rehearsal.take()[0]
            expected = logits_of(torch.tensor(identities(taken))).to(getattr(torch, dtype))
            assert taken.targets["logits"].dtype == expected.dtype
            assert torch.equal(taken.targets["logits"], expected)
        return rehearsal.stats()["evicted"]

    assert min(run_fake_ranks(2, run)) > 0


def test_scalar_and_image_fields_lie_side_by_side():
    fields = {
        "inputs": RecordField(dtype="uint8", shape=(3,)),
        "age": RecordField(dtype="float64", shape=()),
        "map": RecordField(dtype="int16", shape=(2, 2)),
    }
    layout = Layout(fields)
    columns = {
        "inputs": torch.randint(0, 255, (4, 3), dtype=torch.uint8),
        "age": torch.rand(4, dtype=torch.float64),
        "map": torch.randint(-9, 9, (4, 2, 2), dtype=torch.int16),
    }
    labels = torch.tensor([3, 1, 2, 0])
    assert layout.row_bytes == 8 + 3 + 8 + 8
    unpacked_labels, unpacked = layout.unpack(layout.pack(labels, columns))
    assert torch.equal(unpacked_labels, labels)
    assert all(torch.equal(unpacked[name], rows) for name, rows in columns.items())


def test_counters_and_sizes():
    def run(communicator):
        rehearsal = buffer(communicator, 6, num_candidates=4, num_representatives=3)
        for start in range(0, 50, 5):
            rehearsal.offer(samples(range(start, start + 5), [0] * 5))
        return rehearsal.stats()

    stats = alone(run)
    assert stats.pop("populate_s") > 0
    assert stats.pop("plan_s") > 0
    assert stats.pop("fetch_s") > 0
    assert stats == {
        "budget_slots": 6,
        "capacity_slots": 6,
        "stored_slots": 6,
        "bytes": 6 * 16,
        "rounds": 10,
        "offered": 50,
        "inserted": 40,
        "evicted": 34,
        "drawn": 30,
        "bytes_exchanged": 0,
    }


# --- state ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["class_quota", "reservoir"])
@pytest.mark.parametrize("num_ranks", [1, 2])
def test_a_restored_buffer_continues_exactly(policy, num_ranks):
    options = {
        "policy": policy,
        "num_candidates": 5,
        "num_representatives": 4,
        "num_classes": 20,
        "fields": WITH_LOGITS,
    }

    def rounds(rehearsal, communicator, first, last):
        trace = []
        for number in range(first, last):
            own = torch.arange(8) + 100 * number + 10_000 * communicator.world.rank
            trace.append(identities(rehearsal.take()[0]))
            rehearsal.offer(samples(own, (own + number) % (2 + number // 4), fields=WITH_LOGITS))
            trace.append(rehearsal.content_sha256())
        return trace

    def run(communicator):
        original = buffer(communicator, 21, **options)
        rounds(original, communicator, 0, 11)
        state = through_a_checkpoint(original.state_dict())
        kept = {name: rows.clone() for name, rows in state["fields"].items()}
        expected = rounds(original, communicator, 11, 25)
        # A buffer that has seen other samples, so that nothing of it may remain.
        restored = buffer(communicator, 21, **options)
        rounds(restored, communicator, 40, 44)
        restored.load_state_dict(state)
        assert rounds(restored, communicator, 11, 25) == expected
        assert all(torch.equal(state["fields"][name], rows) for name, rows in kept.items()), "no storage is shared"
        counters = ("offered", "inserted", "evicted", "drawn", "bytes_exchanged", "rounds")
        assert [restored.stats()[key] for key in counters] == [original.stats()[key] for key in counters]
        return True

    assert all(run_fake_ranks(num_ranks, run))


@pytest.mark.parametrize(
    ("budget", "options", "message"),
    [
        (9, {}, "budget is 8, here 9"),
        (8, {"policy": "reservoir"}, "policy is .class_quota., here .reservoir."),
        (8, {"num_classes": 4}, "num_classes is 10, here 4"),
        (8, {"fixed_classes": True}, "fixed_classes is False, here True"),
        (8, {"fields": WITH_LOGITS}, "fields is "),
    ],
)
def test_a_state_of_another_run_is_refused(budget, options, message):
    def run(communicator):
        original = buffer(communicator, 8)
        original.offer(samples([1, 2], [0, 1]))
        other = buffer(communicator, budget, **options)
        with pytest.raises(CheckpointError, match=message):
            other.load_state_dict(original.state_dict())
        return other.stats()["stored_slots"]

    assert alone(run) == 0


# --- bad input -----------------------------------------------------------------------------------


def test_impossible_specifications_are_refused():
    with pytest.raises(RehearsalError, match="seed must be in"):
        alone(lambda communicator: buffer(communicator, 4, seed=2**64))
    with pytest.raises(RehearsalError, match="needs a field 'inputs', got logits"):
        alone(lambda communicator: buffer(communicator, 4, fields={"logits": WITH_LOGITS["logits"]}))
    with pytest.raises(RehearsalError, match="no dtype 'uint9'"):
        alone(lambda comm: buffer(comm, 4, fields={"inputs": RecordField(dtype="uint9", shape=(1,))}))


def test_a_budget_beyond_memory_names_its_bytes():
    with pytest.raises(RehearsalError, match=r"a shard of 1000000000000000 slots needs 16000000000000000 bytes"):
        alone(lambda communicator: buffer(communicator, 10**15))
