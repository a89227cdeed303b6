"""Every registered backbone keeps the contract of its room."""

import pytest
import torch

from rehearse.core import registry
from rehearse.core.config import BackboneSection, plugin_config
from rehearse.core.errors import ConfigError
from rehearse.core.experiment import Regime
from rehearse.training.optim import build_optimizer

# A name for the plug-ins that stand for many networks.
EXAMPLES = {"timm": "timm:test_resnet"}
SMALLEST = {"convnext": 32}
NAMES = [EXAMPLES.get(name, name) for name in registry.names("backbones")]


def build(name, input_shape=(3, 32, 32), num_classes=7, **options):
    section = BackboneSection(name=name, **options)
    return registry.get("backbones", name).build(plugin_config(section), input_shape, num_classes)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("input_shape", [(3, 32, 32), (1, 28, 28)])
def test_maps_images_to_one_logit_per_class_and_trains(name, input_shape):
    """Or says how large images must be."""
    if input_shape[1] < SMALLEST.get(name, 0):
        with pytest.raises(ConfigError, match=f"needs images of at least {SMALLEST[name]} pixels, got 28×28"):
            build(name, input_shape)
        return
    network = build(name, input_shape)
    outputs = network(torch.randn(2, *input_shape))
    assert outputs.shape == (2, 7)
    outputs.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_weights(name):
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(torch.cat([parameter.flatten() for parameter in build(name).parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name", NAMES)
def test_its_regime_builds_its_optimizer(name):
    regime = registry.get("backbones", name).regime
    assert isinstance(regime, Regime)
    optimizer = build_optimizer(build(name), regime, lr=0.1)
    assert type(optimizer).__name__ == regime.optimizer
    assert optimizer.defaults["weight_decay"] == regime.weight_decay


@pytest.mark.parametrize("name", NAMES)
def test_misspelt_options_are_refused(name):
    with pytest.raises(ConfigError, match="unknown key 'colour'"):
        build(name, colour="red")


def test_resnet18_keeps_the_resolution_of_small_images():
    small, large = build("resnet18", (3, 32, 32)), build("resnet18", (3, 224, 224))
    assert small.conv1.stride == (1, 1)
    assert large.conv1.stride == (2, 2)


def test_mnistnet_says_how_small_is_too_small():
    with pytest.raises(ConfigError, match="at least 4×4 pixels, got 3×3"):
        build("mnistnet", (1, 3, 3))


def test_an_unknown_timm_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'resnet18'"):
        build("timm:resnet18x")


def test_a_transformer_is_built_for_the_dataset_s_image_size():
    network = build("timm:test_vit", (3, 64, 64))
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, 7)
