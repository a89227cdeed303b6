import pytest
import torch
from torch import nn

from rehearse.training.normalization import tolerate_lone_samples


@pytest.fixture
def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3))
    tolerate_lone_samples(model)
    return model.train()


def test_a_lone_sample_is_normalised_with_the_running_statistics(network):
    before = network[3].running_mean.clone()
    outputs = network(torch.randn(1, 3, 4, 4))
    assert torch.isfinite(outputs).all()
    assert torch.equal(network[3].running_mean, before)
    assert network[0].num_batches_tracked == 1, "a channel of 4 x 4 values has statistics of its own"
    assert network[3].training


def test_two_samples_are_normalised_with_their_own(network):
    before = network[3].running_mean.clone()
    network(torch.randn(2, 3, 4, 4))
    assert not torch.equal(network[3].running_mean, before)


def test_a_failing_forward_pass_leaves_the_mode_as_it_was(network):
    with pytest.raises(RuntimeError):
        network[3](torch.randn(3, 1, dtype=torch.float64).view(1, 3))
    assert network[3].training
