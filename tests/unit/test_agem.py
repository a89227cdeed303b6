"""A-GEM against its formula, by hand."""

import torch
from torch import nn

from rehearse.communicators.single import Single
from rehearse.core.batch import Batch
from rehearse.core.protocols import StrategyContext
from rehearse.core.world import World
from rehearse.strategies.agem import Agem


def agem(model, communicator=None):
    return Agem(
        Agem.Config(),
        StrategyContext(
            model=model,
            criterion=lambda outputs, batch: outputs.squeeze(1) * batch.labels,
            communicator=communicator or Single(Single.Config(name="single"), World()),
        ),
    )


def batch(rows, factors, num_global=None, num_ranks=1):
    """With the criterion above, the gradient of the weights is the mean of factor x row."""
    return Batch(
        inputs=torch.tensor(rows, dtype=torch.float32).view(-1, 2),
        labels=torch.tensor(factors, dtype=torch.int64),
        num_global=len(factors) if num_global is None else num_global,
        num_ranks=num_ranks,
    )


def adjusted(minibatch, representatives):
    model = nn.Linear(2, 1, bias=False)
    strategy = agem(model)
    strategy.loss(minibatch, (representatives,)).backward()
    strategy.adjust_gradients()
    return model.weight.grad.flatten().tolist()


def test_a_gradient_that_opposes_the_past_loses_that_part():
    """g = (4, 2), g_ref = (-1, 0): g - (-4 / 1) (-1, 0) = (0, 2)."""
    assert adjusted(batch([[4, 2]], [1]), batch([[1, 0]], [-1])) == [0.0, 2.0]


def test_the_projection_divides_by_the_square_of_the_reference():
    """g = (1, 0), g_ref = (-2, 2): g·g_ref = -2, g_ref·g_ref = 8, g + (1/4) (-2, 2) = (0.5, 0.5)."""
    assert adjusted(batch([[1, 0]], [1]), batch([[-2, 2]], [1])) == [0.5, 0.5]


def test_the_reference_is_the_mean_over_the_representatives():
    """g = (1, 0), g_ref = mean of (-4, 0) and (0, 4) = (-2, 2)."""
    assert adjusted(batch([[1, 0]], [1]), batch([[-4, 0], [0, 4]], [1, 1])) == [0.5, 0.5]


def test_a_gradient_that_agrees_with_the_past_is_kept():
    assert adjusted(batch([[4, 2]], [1]), batch([[1, 0]], [1])) == [4.0, 2.0]
    assert adjusted(batch([[4, 2]], [1]), batch([[0, 0]], [1])) == [4.0, 2.0]


def test_before_the_first_representative_nothing_changes():
    assert adjusted(batch([[4, 2]], [1]), batch([], [], num_global=0)) == [4.0, 2.0]
