"""Every registered strategy keeps the contract of its room."""

import copy
import inspect
from dataclasses import replace

import pytest
import torch
from torch import nn

from rehearse.core import registry
from rehearse.core.batch import Batch
from rehearse.core.config import StrategySection, plugin_config
from rehearse.core.protocols import StrategyContext
from rehearse.core.world import World
from rehearse.training.criteria import cross_entropy
from support.fake_ranks import run_fake_ranks

NAMES = registry.names("strategies")
CLASSES = 4


torch.manual_seed(0)
NETWORK = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, CLASSES))


def network():
    return copy.deepcopy(NETWORK)


def single():
    communicator = registry.get("communicators", "single")
    return communicator(communicator.Config(name="single"), World())


def strategy(name, model, communicator=None, **options):
    context = StrategyContext(model=model, criterion=cross_entropy, communicator=communicator or single())
    return registry.get("strategies", name)(plugin_config(StrategySection(name=name, **options)), context)


def samples(count, seed):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=draws), torch.randint(0, CLASSES, (count,), generator=draws)


def batch(inputs, labels, num_global, num_ranks):
    logits = torch.stack([inputs.sum(1), inputs[:, 0], inputs[:, 1], inputs.prod(1)], dim=1)
    return Batch(inputs=inputs, labels=labels, num_global=num_global, num_ranks=num_ranks, targets={"logits": logits})


def gradient(name, minibatch, representatives, communicator=None):
    """The gradient that the optimiser steps along, averaged over ranks as the loop does."""
    model = network()
    communicator = communicator or single()
    subject = strategy(name, model, communicator)
    loss = subject.loss(minibatch, (representatives,) * len(subject.draws))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    for parameter in model.parameters():
        parameter.grad.copy_(communicator.allreduce(parameter.grad))
    subject.adjust_gradients()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_ranks", [2, 3, 4])
@pytest.mark.parametrize("num_samples", [12, 13, 3])
@pytest.mark.parametrize("per_rank", [0, 5])
def test_ranks_together_have_the_gradient_of_one_rank_with_a_larger_minibatch(name, num_ranks, num_samples, per_rank):
    """Also where a rank has no samples of its own."""
    inputs, labels = samples(num_samples, seed=1)
    past_total = per_rank * num_ranks
    past_inputs, past_labels = samples(past_total, seed=2)
    expected = gradient(name, batch(inputs, labels, num_samples, 1), batch(past_inputs, past_labels, past_total, 1))

    def on_rank(communicator):
        rank = communicator.world.rank
        mine, past = slice(rank, None, num_ranks), slice(rank * per_rank, (rank + 1) * per_rank)
        return gradient(
            name,
            batch(inputs[mine], labels[mine], num_samples, num_ranks),
            batch(past_inputs[past], past_labels[past], past_total, num_ranks),
            communicator,
        )

    found = run_fake_ranks(num_ranks, on_rank)
    assert all(torch.equal(other, found[0]) for other in found)
    torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_representatives_matter_to_strategies_that_rehearse_and_only_to_them(name):
    # The same inputs with another label: a past that the minibatch's gradient is sure to oppose.
    minibatch = replace(batch(*samples(8, 1), 8, 1), labels=torch.full((8,), 0))
    representatives = replace(minibatch, labels=torch.full((8,), 1))
    nothing = batch(*samples(0, 2), 0, 1)
    differs = not torch.allclose(gradient(name, minibatch, representatives), gradient(name, minibatch, nothing))
    assert differs == registry.get("strategies", name).rehearses


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_belongs_to_the_samples_of_the_minibatch(name):
    model = network()
    subject = strategy(name, model)
    minibatch, representatives = batch(*samples(8, 1), 8, 1), batch(*samples(5, 2), 5, 1)
    subject.loss(minibatch, (representatives,) * len(subject.draws))
    stored, fields = subject.stored(), subject.stored_fields((CLASSES,))
    assert set(stored) == set(fields) == set(subject.stores)
    for field, rows in stored.items():
        assert rows.shape == (8, *fields[field].shape)
        assert str(rows.dtype) == f"torch.{fields[field].dtype}"
        assert not rows.requires_grad


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["der", "derpp"])
def test_logits_are_those_of_that_very_sample(name, dtype):
    model = network()
    subject = strategy(name, model, logits_dtype=dtype)
    minibatch, representatives = batch(*samples(8, 1), 8, 1), batch(*samples(5, 2), 5, 1)
    expected = model(minibatch.inputs).detach().to(getattr(torch, dtype))
    subject.loss(minibatch, (representatives,) * len(subject.draws))
    assert torch.equal(subject.stored()["logits"], expected)


@pytest.mark.parametrize("name", NAMES)
def test_state_survives_a_round_trip(name):
    model = network()
    first = strategy(name, model)
    state = copy.deepcopy(first.state_dict())
    second = strategy(name, model)
    second.load_state_dict(state)
    assert second.state_dict().keys() == state.keys()


def test_er_is_the_mean_over_the_augmented_minibatch():
    model = network()
    minibatch, representatives = batch(*samples(8, 1), 8, 1), batch(*samples(5, 2), 5, 1)
    inputs = torch.cat([minibatch.inputs, representatives.inputs])
    labels = torch.cat([minibatch.labels, representatives.labels])
    expected = nn.functional.cross_entropy(model(inputs), labels)
    torch.testing.assert_close(strategy("er", model).loss(minibatch, (representatives,)), expected)


@pytest.mark.parametrize("options", [{"alpha": 0.3}, {"alpha": 0.0}])
def test_der_adds_the_squared_distance_to_the_stored_logits(options):
    model = network()
    minibatch, past = batch(*samples(8, 1), 8, 1), batch(*samples(5, 2), 5, 1)
    expected = nn.functional.cross_entropy(model(minibatch.inputs), minibatch.labels)
    expected = expected + options["alpha"] * nn.functional.mse_loss(model(past.inputs), past.targets["logits"])
    torch.testing.assert_close(strategy("der", model, **options).loss(minibatch, (past,)), expected)


def test_derpp_adds_the_loss_of_a_second_draw():
    model = network()
    minibatch, past, other = batch(*samples(8, 1), 8, 1), batch(*samples(5, 2), 5, 1), batch(*samples(3, 3), 3, 1)
    expected = (
        nn.functional.cross_entropy(model(minibatch.inputs), minibatch.labels)
        + 0.3 * nn.functional.mse_loss(model(past.inputs), past.targets["logits"])
        + 0.7 * nn.functional.cross_entropy(model(other.inputs), other.labels)
    )
    found = strategy("derpp", model, alpha=0.3, beta=0.7).loss(minibatch, (past, other))
    torch.testing.assert_close(found, expected)


def test_augmented_derpp_trains_the_second_draw_with_the_minibatch():
    model = network()
    minibatch, past, other = batch(*samples(8, 1), 8, 1), batch(*samples(5, 2), 5, 1), batch(*samples(3, 3), 3, 1)
    inputs, labels = torch.cat([minibatch.inputs, other.inputs]), torch.cat([minibatch.labels, other.labels])
    expected = nn.functional.cross_entropy(model(inputs), labels)
    expected = expected + 0.3 * nn.functional.mse_loss(model(past.inputs), past.targets["logits"])
    subject = strategy("derpp", model, alpha=0.3, augmented=True)
    torch.testing.assert_close(subject.loss(minibatch, (past, other)), expected)
    assert torch.equal(subject.stored()["logits"], model(inputs)[:8].detach())


def test_er_s_own_code_stays_short():
    source = inspect.getsource(registry.get("strategies", "er"))
    code = [line for line in source.splitlines() if line.strip() and '"""' not in line]
    assert len(code) < 20
