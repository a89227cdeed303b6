"""Every registered loader keeps the contract of its room."""

import inspect

import numpy as np
import pytest
import torch

from rehearse.core import registry
from rehearse.core.config import LoaderSection, PluginConfig, plugin_config

NAMES = registry.names("loaders")
pytestmark = pytest.mark.parametrize("name", NAMES)


class Photos:
    """uint8 samples of three channels; the seed shifts their pixels."""

    def __init__(self):
        self.labels = np.arange(20) % 4
        self._pixels = np.random.default_rng(0).integers(0, 200, (20, 3, 4, 4), dtype=np.uint8)

    def fetch(self, indices, seed):
        return self._pixels[np.asarray(indices, dtype=np.int64)] + np.uint8((seed or 0) % 50)


STEPS = [np.array(step, dtype=np.int64) for step in ([19, 0, 7], [], [3, 3], [])]


def load(name, seed):
    split = Photos()
    made = registry.get("loaders", name)(plugin_config(LoaderSection(name=name)), split, 3 - split.labels)
    found = list(made.minibatches(STEPS, seed))
    made.close()
    return found


def test_the_plug_in_is_described(name):
    plugin = registry.get("loaders", name)
    assert issubclass(plugin.Config, PluginConfig)
    assert inspect.getdoc(plugin)
    assert all(field.description for key, field in plugin.Config.model_fields.items() if key != "name")


@pytest.mark.parametrize("seed", [None, 7])
def test_one_minibatch_per_step_in_order_as_stored(name, seed):
    split = Photos()
    found = load(name, seed)
    assert len(found) == len(STEPS)
    for step, minibatch in zip(STEPS, found, strict=True):
        assert minibatch.inputs.device.type == minibatch.labels.device.type == "cpu"
        assert minibatch.inputs.dtype == torch.uint8
        assert minibatch.inputs.shape == (len(step), 3, 4, 4)
        assert minibatch.inputs.numpy().tolist() == split.fetch(step, seed).tolist()
        assert minibatch.labels.dtype == minibatch.indices.dtype == torch.int64
        assert minibatch.labels.tolist() == (3 - split.labels)[step].tolist()
        assert minibatch.indices.tolist() == step.tolist()


def test_seeds_matter_and_repeat(name):
    one, same, other = ([batch.inputs.tolist() for batch in load(name, seed)] for seed in (1, 1, 2))
    assert one == same
    assert one != other
