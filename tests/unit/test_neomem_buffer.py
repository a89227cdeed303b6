"""The engine as a buffer: the reference buffer as oracle, laws, overlap, transports, errors."""

import sys
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rehearse.core.errors import CheckpointError, CommunicationError, MissingDependencyError, RehearsalError
from rehearse.core.protocols import RecordField
from rehearse.core.rehearsal import BUILD_ENGINE, class_total
from support import laws
from support.fake_ranks import run_fake_ranks
from support.rehearsing import BATCH_SIZE, EMPTY, FIELDS, buffer, identities, logits_of, samples, trace

# --- the reference buffer as oracle --------------------------------------------------------------


@st.composite
def schedules(draw):
    """(ranks, budget, classes, options, label lists by round and rank) whose sizes chance does not decide."""
    num_ranks, num_classes = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    rounds = st.lists(
        st.tuples(*[st.lists(st.integers(0, num_classes - 1), max_size=9) for _ in range(num_ranks)]),
        min_size=1,
        max_size=8,
    )
    options = {
        "policy": draw(st.sampled_from(["class_quota", "reservoir"])),
        "scope": draw(st.sampled_from(["global", "local"])),
        "fixed_classes": True,
        "num_candidates": 9,  # every sample
        "num_representatives": draw(st.integers(1, 6)),
    }
    return num_ranks, draw(st.integers(1, 24)), num_classes, options, draw(rounds)


def follow(communicator, name, schedule):
    """Sizes after each round; checks what was drawn."""
    _, budget, num_classes, options, rounds = schedule
    rank, sizes, offered = communicator.world.rank, [], set()
    with buffer(communicator, budget, name=name, num_classes=num_classes, **options) as rehearsal:
        for number, labels in enumerate(rounds):
            own = [1000 * number + 100 * rank + row for row in range(len(labels[rank]))]
            rehearsal.offer(samples(own, labels[rank], num_ranks=communicator.world.num_ranks))
            offered = offered.union(*communicator.gather_objects(own))
            drawn = rehearsal.take()[0]
            assert len(set(identities(drawn))) == len(drawn)
            assert offered.issuperset(identities(drawn))
            fill, stats = rehearsal.fill(), rehearsal.stats()
            sizes.append((len(drawn), drawn.num_global, sum(fill.values()), stats["offered"], stats["drawn"]))
            if options["policy"] == "class_quota":
                sizes.append((fill, stats["inserted"] - stats["evicted"]))
    return sizes


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules())
def test_every_size_is_that_of_the_reference(schedule):
    expected = run_fake_ranks(schedule[0], lambda communicator: follow(communicator, "python", schedule))
    assert run_fake_ranks(schedule[0], lambda communicator: follow(communicator, "neomem", schedule)) == expected


@pytest.mark.parametrize("fixed_classes", [False, True])
@pytest.mark.parametrize("budget", [2, 7, 16, 61])
def test_past_classes_keep_the_part_of_the_budget_that_the_reference_gives(budget, fixed_classes):
    """Classes one after another; also where a class has fewer slots than there are ranks."""
    num_classes = 8

    def stream(communicator, name):
        options = {"num_candidates": 6, "fixed_classes": fixed_classes, "num_classes": num_classes}
        with buffer(communicator, budget, name=name, **options) as rehearsal:
            for label in range(num_classes):
                for _ in range(10):
                    rehearsal.offer(samples(range(6), [label] * 6))
            rehearsal.take()
            return rehearsal.fill()

    fills = run_fake_ranks(5, lambda communicator: stream(communicator, "neomem"))
    assert fills == run_fake_ranks(5, lambda communicator: stream(communicator, "python"))
    totals = [sum(fill.get(label, 0) for fill in fills) for label in range(num_classes)]
    assert totals == [class_total(budget, num_classes, label) for label in range(num_classes)]


# --- laws ----------------------------------------------------------------------------------------

FILLS = {1: [30], 2: [17, 3], 4: [12, 1, 0, 7]}


def drawn_counts(num_ranks, num_rounds=1500, **options):
    """p-value of equal counts of all representatives, over all ranks' draws from shards of unequal fill."""
    sizes, total = FILLS[num_ranks], sum(FILLS[num_ranks])

    def run(communicator):
        rank, counts = communicator.world.rank, np.zeros(total)
        options_here = {"name": "neomem", "policy": "reservoir", "num_representatives": 5, **options}
        with buffer(communicator, 30 * num_ranks, **options_here) as rehearsal:
            held = np.arange(sizes[rank]) + sum(sizes[:rank])
            rehearsal.offer(samples(held, held % 4))
            for _ in range(num_rounds):
                counts[identities(rehearsal.exchange(EMPTY)[1][0])] += 1
            rehearsal.take()
        return counts

    return laws.uniform(sum(run_fake_ranks(num_ranks, run)), 5)


@pytest.mark.parametrize("num_ranks", FILLS)
def test_what_ranks_receive_is_uniform_over_the_union(num_ranks):
    assert drawn_counts(num_ranks) > laws.CREDIBLE


def test_free_ranks_receive_the_same_law():
    assert drawn_counts(4, mode="free") > laws.CREDIBLE


def test_ranks_that_draw_from_their_own_shard_fail_the_same_test():
    assert drawn_counts(4, num_rounds=300, scope="local") < laws.IMPOSSIBLE


def stored_counts(num_ranks, per_rank, seeds=400, **options):
    """How often each sample was stored, over buffers with seeds of their own."""

    def run(communicator):
        counts, first = np.zeros(num_ranks * per_rank), communicator.world.rank * per_rank
        for seed in range(seeds):
            with buffer(communicator, name="neomem", seed=seed, scope="local", **options) as rehearsal:
                for start in range(first, first + per_rank, 5):
                    rows = range(start, start + 5)
                    rehearsal.offer(samples(rows, [0] * 5))
                counts[identities(rehearsal.take()[0])] += 1
        return counts[first : first + per_rank]

    return run_fake_ranks(num_ranks, run)


def test_the_reservoir_is_uniform_over_all_samples_whatever_the_number_of_candidates():
    options = {"budget": 10, "policy": "reservoir", "num_candidates": 1, "num_representatives": 10}
    for counts in stored_counts(2, 25, **options):
        assert counts.sum() == 400 * 5
        assert laws.uniform(counts, 5) > laws.CREDIBLE


def test_every_sample_is_a_candidate_equally_often():
    counts = stored_counts(1, 20, budget=100, num_candidates=2, num_representatives=100)[0]
    assert counts.sum() == 400 * 8
    assert laws.uniform(counts, 8) > laws.CREDIBLE
    fifo = stored_counts(1, 20, seeds=100, budget=4, policy="fifo", num_candidates=5, num_representatives=100)[0]
    assert laws.uniform(fifo, 4) < laws.IMPOSSIBLE, "the last samples alone"


# --- one law, however records travel and lie -----------------------------------------------------


@pytest.mark.parametrize("policy", ["class_quota", "reservoir", "fifo", "balanced"])
def test_transports_and_implementations_give_the_same(policy):
    def run(**options):
        return run_fake_ranks(3, lambda communicator: trace(communicator, "neomem", policy=policy, **options))

    expected = run(transport="local")
    assert expected[0] != expected[1]
    for options in (
        {"transport": "shm"},
        {"transport": "tcp"},
        {"implementation": "standard"},
        {"implementation": "standard", "transport": "tcp"},
    ):
        assert run(**options) == expected, options


@pytest.mark.parametrize("scope", ["global", "node", "local"])
@pytest.mark.parametrize("budget", [3, 100])
def test_free_ranks_know_how_many_representatives_all_drew(budget, scope):
    def run(communicator):
        options = {"name": "neomem", "mode": "free", "scope": scope, "num_candidates": 3, "num_representatives": 7}
        with buffer(communicator, budget, **options) as rehearsal:
            rounds = []
            for number in range(12):
                own = torch.arange(4 + communicator.world.rank) + 100 * number
                taken = rehearsal.exchange(samples(own, own % 3))[1][0]
                rounds.append((len(taken), taken.num_global))
            return rounds

    for per_rank in zip(*run_fake_ranks(3, run), strict=True):
        assert {num_global for _, num_global in per_rank} == {sum(drawn for drawn, _ in per_rank)}


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int16", "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("implementation", ["flyweight", "standard"])
def test_every_dtype_and_a_scalar_come_back_as_they_were(dtype, implementation):
    fields = {
        **FIELDS,
        "logits": RecordField(dtype=dtype, shape=(3,)),
        "age": RecordField(dtype=dtype, shape=()),
    }
    kind = getattr(torch, dtype)

    def run(communicator):
        rank = communicator.world.rank
        options = {"implementation": implementation, "num_representatives": 6, "fields": fields}
        with buffer(communicator, 12, name="neomem", **options) as rehearsal:
            for start in range(0, 120, 8):
                own = torch.arange(start, start + 8) + 1000 * rank
                minibatch = samples(own, own % 5)
                minibatch.targets.update(logits=logits_of(own).to(kind), age=(own % 17).to(kind))
                trained, (drawn,) = rehearsal.exchange(minibatch)
                for batch in (trained, drawn):
                    known = torch.tensor(identities(batch), dtype=torch.int64)
                    assert torch.equal(batch.targets["logits"], logits_of(known).to(kind))
                    assert torch.equal(batch.targets["age"], (known % 17).to(kind))
            rehearsal.take()
            return rehearsal.stats()["evicted"]

    assert min(run_fake_ranks(2, run)) > 0


def test_the_standard_implementation_copies_nothing_to_join():
    def run(communicator):
        with buffer(communicator, 12, name="neomem", implementation="standard") as rehearsal:
            minibatches = [samples(range(start, start + 4), [1] * 4) for start in range(0, 24, 4)]
            for minibatch, upcoming in zip(minibatches, [*minibatches[1:], None], strict=True):
                trained, (drawn,) = rehearsal.exchange(minibatch, upcoming)
                assert trained.concat(drawn).inputs.data_ptr() == trained.inputs.data_ptr()
            return rehearsal.stats()

    assert run_fake_ranks(1, run)[0]["copy_s"] > 0


# --- beside the step -----------------------------------------------------------------------------


def test_an_exchange_does_not_wait_for_ranks_that_are_late():
    def run(communicator):
        with buffer(communicator, 12, name="neomem") as rehearsal:
            minibatch = samples(range(8), [1] * 8)
            if communicator.world.rank == 1:
                time.sleep(1)
            started_s = time.monotonic()
            rehearsal.exchange(minibatch)
            spent_s = time.monotonic() - started_s
            assert len(rehearsal.take()[0]) == 7
            waited_s = rehearsal.stats()["wait_s"]
            communicator.barrier()
            return spent_s, waited_s

    (early_s, waited_s), _ = run_fake_ranks(2, run)
    assert early_s < 0.5 < waited_s


def test_times_of_the_stages_are_told():
    def run(communicator):
        with buffer(communicator, 12, name="neomem") as rehearsal:
            for _ in range(20):
                rehearsal.exchange(samples(range(8), [1] * 8))
            rehearsal.take()
            return rehearsal.stats(), rehearsal.background_phases()

    stats, phases = run_fake_ranks(1, run)[0]
    assert set(phases) == {"populate", "plan", "copy"}
    for phase in (*phases, "wait"):
        assert 0 < stats[f"{phase}_p50_s"] <= stats[f"{phase}_p99_s"] <= stats[f"{phase}_s"]


# --- what can go wrong ---------------------------------------------------------------------------


def test_a_silent_rank_is_named_after_the_deadline():
    def run(communicator):
        with buffer(communicator, 12, name="neomem", deadline_s=0.5) as rehearsal:
            rehearsal.offer(samples([1], [1]))
            rehearsal.take()
            communicator.barrier()
            if communicator.world.rank == 0:
                rehearsal.offer(samples([2], [1]))
                with pytest.raises(CommunicationError, match=r"round 2: rank 1 was silent for 500 ms"):
                    rehearsal.take()
            communicator.barrier()

    run_fake_ranks(2, run)


def test_a_rank_that_left_is_named_at_once():
    left = threading.Event()

    def run(communicator):
        with buffer(communicator, 12, name="neomem") as rehearsal:
            rehearsal.offer(samples([1], [1]))
            rehearsal.take()
            communicator.barrier()
            if communicator.world.rank == 0:
                left.wait(10)
                rehearsal.offer(samples([2], [1]))
                with pytest.raises(CommunicationError, match="rank 1 is gone"):
                    rehearsal.take()
        left.set()

    run_fake_ranks(2, run)


def test_taking_can_be_tried_again_after_a_timeout():
    def run(communicator):
        with buffer(communicator, 12, name="neomem") as rehearsal:
            if communicator.world.rank == 0:
                rehearsal.offer(samples([1], [1]))
                with pytest.raises(RehearsalError, match="no representatives within 50 ms"):
                    rehearsal.take(timeout_s=0.05)
            communicator.barrier()
            if communicator.world.rank == 1:
                rehearsal.offer(samples([2], [1]))
            return len(rehearsal.take()[0])

    assert run_fake_ranks(2, run) == [2, 2]


def test_damage_to_a_saved_shard_is_found():
    def run(communicator):
        with buffer(communicator, 12, name="neomem") as original:
            original.offer(samples(range(8), [1] * 8))
            state = original.state_dict()
        for place in range(0, len(state["shard"]), 37):
            damaged = {**state, "shard": state["shard"].clone()}
            damaged["shard"][place] += 1
            with (
                buffer(communicator, 12, name="neomem") as other,
                pytest.raises(CheckpointError, match="saved rehearsal buffer: "),
            ):
                other.load_state_dict(damaged)

    run_fake_ranks(1, run)


def test_a_state_of_the_other_buffer_is_refused():
    def run(communicator):
        with buffer(communicator, 12) as reference, buffer(communicator, 12, name="neomem") as rehearsal:
            with pytest.raises(CheckpointError, match="buffer is 'python', here 'neomem'"):
                rehearsal.load_state_dict(reference.state_dict())
            with pytest.raises(CheckpointError, match="buffer is 'neomem', here 'python'"):
                reference.load_state_dict(rehearsal.state_dict())

    run_fake_ranks(1, run)


def test_impossible_specifications_are_refused():
    def build(**options):
        run_fake_ranks(1, lambda communicator: buffer(communicator, name="neomem", **{"budget": 4, **options}).close())

    with pytest.raises(RehearsalError, match="seed must be in"):
        build(seed=2**64)
    with pytest.raises(RehearsalError, match="needs a field 'inputs', got logits"):
        build(fields={"logits": RecordField(dtype="float16", shape=(3,))})
    with pytest.raises(RehearsalError, match="lower rehearsal_ratio or use more nodes"):
        build(budget=10**9, fields={"inputs": RecordField(dtype="uint8", shape=(10**6,))})


def test_a_minibatch_larger_than_announced_is_refused():
    def run(communicator):
        with buffer(communicator, 12, name="neomem") as rehearsal:
            rows = range(BATCH_SIZE + 1)
            with pytest.raises(RehearsalError, match=f"{BATCH_SIZE + 1} rows, more than max_batch {BATCH_SIZE}"):
                rehearsal.offer(samples(rows, [1] * len(rows)))
            return rehearsal.fill()

    assert run_fake_ranks(1, run) == [{}]


def test_where_it_is_not_built_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "neomem", None)
    with pytest.raises(MissingDependencyError, match=BUILD_ENGINE):
        run_fake_ranks(1, lambda communicator: buffer(communicator, 12, name="neomem"))
