"""Every registered buffer keeps the contract of its room."""

import inspect
import json
from collections import Counter
from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare

from rehearse.core import registry
from rehearse.core.errors import CheckpointError, RehearsalError
from rehearse.core.rehearsal import BufferConfig
from support import laws
from support.fake_ranks import run_fake_ranks
from support.rehearsing import EMPTY, FIELDS, WITH_LOGITS, buffer, identities, logits_of, samples, through_a_checkpoint

NAMES = registry.names("buffers")
pytestmark = pytest.mark.parametrize("name", NAMES)

NUM_CLASSES = 6
EMPTY_WITH_LOGITS = samples([], [], fields=WITH_LOGITS)
OPTIONS = {"num_classes": NUM_CLASSES, "num_candidates": 5, "num_representatives": 4, "fields": WITH_LOGITS}


def offered(communicator, number):
    own = torch.arange(7) + 100 * number + 10_000 * communicator.world.rank
    return samples(own, (own + number) % NUM_CLASSES, num_ranks=communicator.world.num_ranks, fields=WITH_LOGITS)


def train(rehearsal, communicator, rounds):
    """What each step of a run gets to train with."""
    trace = []
    for number in rounds:
        trace.append(rehearsal.take()[0])
        rehearsal.offer(offered(communicator, number))
    return [*trace, rehearsal.take()[0]]


def test_the_plug_in_is_described(name):
    plugin = registry.get("buffers", name)
    assert issubclass(plugin.Config, BufferConfig)
    assert plugin.Config(budget=1).name == name
    assert inspect.getdoc(plugin)


def test_nothing_is_drawn_before_the_first_offer(name):
    def run(communicator):
        with buffer(communicator, 12, name=name, **OPTIONS) as rehearsal:
            assert rehearsal.fill() == {}
            return rehearsal.take()[0]

    for batch in run_fake_ranks(2, run):
        assert len(batch) == batch.num_global == 0
        assert batch.num_ranks == 2
        assert batch.inputs.dtype == torch.uint8
        assert batch.inputs.shape == (0, 1, 2, 4)
        assert batch.labels.dtype == torch.int64
        assert batch.targets["logits"].dtype == torch.float16
        assert batch.targets["logits"].shape == (0, 3)


@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("policy", ["class_quota", "reservoir"])
@pytest.mark.parametrize("budget", [3, 14, 100])
@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_budget_and_draws(name, num_ranks, budget, policy, scope):
    """Budgets below one slot per class and rank included."""

    def run(communicator):
        with buffer(communicator, budget, name=name, policy=policy, scope=scope, **OPTIONS) as rehearsal:
            trace = []
            for number in range(12):
                rehearsal.offer(offered(communicator, number))
                trace.append((sum(rehearsal.fill().values()), rehearsal.take()[0]))
            return trace

    for per_rank in zip(*run_fake_ranks(num_ranks, run), strict=True):
        sizes = [size for size, _ in per_rank]
        assert 0 < sum(sizes) <= budget
        for size, batch in per_rank:
            drawn = identities(batch)
            assert len(drawn) == len(set(drawn)) == min(4, sum(sizes) if scope == "global" else size)
            assert torch.equal(batch.targets["logits"], logits_of(torch.tensor(drawn, dtype=torch.int64)))
            assert batch.num_global == sum(len(other) for _, other in per_rank)
            assert batch.num_ranks == num_ranks
            assert batch.indices is None


@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_several_draws_of_a_round(name, num_ranks, scope):
    """Each without repetition, of its own size, and counted over all ranks on its own."""

    def run(communicator):
        with buffer(communicator, 40, name=name, scope=scope, draws=(3, 6), **OPTIONS) as rehearsal:
            trace = []
            for number in range(8):
                rehearsal.offer(offered(communicator, number))
                trace.append((sum(rehearsal.fill().values()), rehearsal.take()))
            state, last = rehearsal.state_dict(), rehearsal.take()
        with buffer(communicator, 40, name=name, scope=scope, draws=(3, 6), **OPTIONS) as restored:
            restored.load_state_dict(state)
            assert [identities(draw) for draw in restored.take()] == [identities(draw) for draw in last]
        return trace

    for per_rank in zip(*run_fake_ranks(num_ranks, run), strict=True):
        stored = sum(size for size, _ in per_rank)
        for size, draws in per_rank:
            for draw, (wanted, other) in zip(draws, [(3, 0), (6, 1)], strict=True):
                drawn = identities(draw)
                assert len(drawn) == len(set(drawn)) == min(wanted, stored if scope == "global" else size)
                assert draw.num_global == sum(len(theirs[other]) for _, theirs in per_rank)


def test_draws_of_a_round_are_independent(name):
    """Two draws of one of n meet as often as chance has it, once in n rounds."""

    def run(communicator):
        with buffer(communicator, 12, name=name, policy="reservoir", draws=(1, 1), **OPTIONS) as rehearsal:
            rehearsal.offer(samples(range(5), range(5), fields=WITH_LOGITS))
            pairs = Counter()
            for _ in range(1500):
                rehearsal.offer(EMPTY_WITH_LOGITS)
                pairs[tuple(identities(draw)[0] for draw in rehearsal.take())] += 1
            return [pairs[first, second] for first in range(5) for second in range(5)]

    assert chisquare(run_fake_ranks(1, run)[0]).pvalue > laws.CREDIBLE


def test_a_rank_without_samples_takes_part_in_the_round(name):
    def run(communicator):
        with buffer(communicator, 12, name=name, **OPTIONS) as rehearsal:
            empty = samples([], [], fields=WITH_LOGITS)
            rehearsal.offer(offered(communicator, 0) if communicator.world.rank == 0 else empty)
            return rehearsal.take()[0]

    drawn = run_fake_ranks(2, run)
    assert [len(batch) for batch in drawn] == [4, 4]
    assert all(identity < 10_000 for batch in drawn for identity in identities(batch))


def test_representatives_are_copies(name):
    def run(communicator):
        with buffer(communicator, 12, name=name, **OPTIONS) as rehearsal:
            minibatch = offered(communicator, 0)
            rehearsal.offer(minibatch)
            minibatch.inputs.zero_()
            minibatch.targets["logits"].zero_()
            taken = rehearsal.take()[0]
            drawn = identities(taken)
            for rows in (taken.inputs, taken.labels, *taken.targets.values()):
                rows.fill_(1)
            rehearsal.offer(samples([], [], fields=WITH_LOGITS))
            after = rehearsal.take()[0]
            assert torch.equal(after.targets["logits"], logits_of(torch.tensor(identities(after))))
            return drawn + identities(after)

    assert all(identity < 10_000 for identity in run_fake_ranks(1, run)[0])


def exchange_all(rehearsal, communicator, rounds):
    """What each step of a run trains; every minibatch but the first and the fourth was announced."""
    minibatches, trace = [offered(communicator, number) for number in range(rounds)], []
    for number, minibatch in enumerate(minibatches):
        upcoming = minibatches[number + 1] if number + 1 < rounds and number != 2 else None
        own, (drawn,) = rehearsal.exchange(minibatch, upcoming)
        assert torch.equal(own.inputs, minibatch.inputs)
        assert torch.equal(own.labels, minibatch.labels)
        assert torch.equal(own.targets["logits"], minibatch.targets["logits"])
        assert own.num_global == minibatch.num_global
        augmented = own.concat(drawn)
        assert torch.equal(augmented.targets["logits"], logits_of(torch.tensor(identities(augmented))))
        trace.append((identities(drawn), drawn.num_global))
    return trace


@pytest.mark.parametrize("scope", ["global", "local"])
def test_an_exchange_takes_and_offers(name, scope):
    def run(communicator):
        options = {**OPTIONS, "scope": scope}
        with buffer(communicator, 12, name=name, **options) as rehearsal:
            exchanged = exchange_all(rehearsal, communicator, 9)
            exchanged_fill = rehearsal.fill()
        with buffer(communicator, 12, name=name, **options) as rehearsal:
            taken = train(rehearsal, communicator, range(9))[:-1]
            assert rehearsal.fill() == exchanged_fill
        return exchanged == [(identities(batch), batch.num_global) for batch in taken]

    assert run_fake_ranks(2, run) == [True, True]


def test_what_an_exchange_returns_stays_until_the_exchange_after_the_next(name):
    def run(communicator):
        with buffer(communicator, 12, name=name, **OPTIONS) as rehearsal:
            kept, expected = [], []
            for number in range(9):
                own, (drawn,) = rehearsal.exchange(offered(communicator, number))
                kept.append((own, drawn))
                expected.append((identities(own), identities(drawn)))
                rehearsal.fill()  # the engine has done its work
                assert [tuple(map(identities, batches)) for batches in kept[-2:]] == expected[-2:]

    run_fake_ranks(2, run)


def test_one_seed_repeats_and_two_differ(name):
    def run(seed):
        def on_rank(communicator):
            with buffer(communicator, 20, name=name, seed=seed, **OPTIONS) as rehearsal:
                return [identities(batch) for batch in train(rehearsal, communicator, range(9))]

        return run_fake_ranks(2, on_rank)

    once = run(1)
    assert once == run(1)
    assert once != run(2)
    assert once[0] != once[1], "ranks draw different representatives"


SUMS = ("offered", "inserted", "evicted", "drawn", "bytes_exchanged", "rounds")


@pytest.mark.parametrize("used", [0, 5])
@pytest.mark.parametrize("policy", ["class_quota", "reservoir"])
def test_a_restored_buffer_continues_exactly(name, policy, used):
    def on_rank(communicator):
        options = {**OPTIONS, "policy": policy}
        with buffer(communicator, 20, name=name, **options) as rehearsal:
            train(rehearsal, communicator, range(8))
            state = through_a_checkpoint(rehearsal.state_dict())
            expected = train(rehearsal, communicator, range(8, 14))
            fill, digest, stats = rehearsal.fill(), rehearsal.content_sha256(), rehearsal.stats()
        with buffer(communicator, 20, name=name, **options) as restored:
            train(restored, communicator, range(20, 20 + used))  # nothing of it may remain
            restored.load_state_dict(state)
            found = train(restored, communicator, range(8, 14))
            assert restored.fill() == fill
            assert restored.content_sha256() == digest
            assert [restored.stats()[key] for key in SUMS] == [stats[key] for key in SUMS]
        return [identities(batch) for batch in found] == [identities(batch) for batch in expected]

    assert all(run_fake_ranks(2, on_rank))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"budget": 21}, "budget is 20, here 21"),
        ({"policy": "reservoir"}, "policy is .class_quota., here .reservoir."),
        ({"num_classes": 4}, "num_classes is 6, here 4"),
        ({"fixed_classes": True}, "fixed_classes is False, here True"),
        ({"fields": FIELDS}, "fields is "),
    ],
)
def test_a_state_of_another_run_is_refused(name, changed, message):
    def run(communicator):
        options = {"budget": 20, **OPTIONS}
        with buffer(communicator, name=name, **options) as original:
            original.offer(offered(communicator, 0))
            state = original.state_dict()
        with buffer(communicator, name=name, **{**options, **changed}) as other:
            with pytest.raises(CheckpointError, match=message):
                other.load_state_dict(state)
            return other.stats()["stored_slots"]

    assert run_fake_ranks(1, run) == [0]


WRONG = {
    "dtype": (lambda good: replace(good, inputs=good.inputs.float()), "'inputs' has dtype float32, expected uint8"),
    "shape": (
        lambda good: replace(good, inputs=good.inputs[:, :, :1]),
        r"'inputs' has shape .*, expected \(7, 1, 2, 4\)",
    ),
    "rows": (lambda good: replace(good, inputs=good.inputs[:6]), r"'inputs' has shape \(6, .*, expected \(7,"),
    "labels": (lambda good: replace(good, labels=good.labels.int()), "'labels' has dtype int32, expected int64"),
    "label": (lambda good: replace(good, labels=good.labels + 3), r"label 6 is out of range: .* labels in \[0, 6\)"),
    "negative": (lambda good: replace(good, labels=good.labels - 9), "label -9 is out of range"),
    "missing": (lambda good: replace(good, targets={}), "lacks logits, which the buffer stores"),
    "logits": (
        lambda good: replace(good, targets={"logits": good.targets["logits"].float()}),
        "'logits' has dtype float32, expected float16",
    ),
    "device": (
        lambda good: replace(good, inputs=good.inputs.to("meta")),
        "'inputs' is on meta, expected it on the host",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_minibatch_is_refused_and_nothing_of_it_stored(name, kind):
    spoil, message = WRONG[kind]

    def run(communicator):
        with buffer(communicator, 12, name=name, **OPTIONS) as rehearsal:
            with pytest.raises(RehearsalError, match=message):
                rehearsal.offer(spoil(offered(communicator, 0)))
            assert rehearsal.fill() == {}
            rehearsal.offer(offered(communicator, 0))
            return len(rehearsal.take()[0])

    assert run_fake_ranks(1, run) == [4]


def test_statistics_name_their_units(name):
    def run(communicator):
        with buffer(communicator, 12, name=name, **OPTIONS) as rehearsal:
            train(rehearsal, communicator, range(5))
            return rehearsal.stats(), sum(rehearsal.fill().values())

    for stats, stored in run_fake_ranks(2, run):
        assert stats["budget_slots"] == 12
        assert stats["capacity_slots"] == 6
        assert stats["stored_slots"] == stored <= 6
        assert stats["bytes"] >= 6 * (8 + 8 + 6)
        assert stats["offered"] == 5 * 7
        assert stats["inserted"] - stats["evicted"] == stored
        assert stats["drawn"] == 5 * 4
        assert stats["rounds"] == 5
        assert stats["bytes_exchanged"] > 0
        assert all(isinstance(value, int | float) for value in stats.values())


def test_it_tells_what_it_is_and_does(name):
    def run(communicator):
        with buffer(communicator, 12, name=name, **OPTIONS) as rehearsal:
            train(rehearsal, communicator, range(5))
            return json.dumps(rehearsal.describe()), rehearsal.background_phases()

    described, phases = zip(*run_fake_ranks(2, run), strict=True)
    assert described[0] == described[1]
    assert name in described[0]
    for times in phases:
        assert set(times) <= {"populate", "plan", "fetch", "copy"}
        assert all(0 < phase.mean_ms <= phase.total_s * 1e3 for phase in times.values())


def test_an_empty_minibatch_alone_changes_nothing(name):
    def run(communicator):
        with buffer(communicator, 12, name=name, num_classes=NUM_CLASSES) as rehearsal:
            rehearsal.offer(EMPTY)
            return rehearsal.fill(), len(rehearsal.take()[0])

    assert run_fake_ranks(2, run) == [({}, 0), ({}, 0)]
