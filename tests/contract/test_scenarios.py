"""Every registered scenario keeps the contract of its room."""

import inspect
import itertools

import numpy as np
import pytest

from rehearse.core import registry
from rehearse.core.config import PluginConfig, ScenarioSection, plugin_config

OPTIONS = {
    "class": {"initial_increment": 4, "increment": 3},
    "instance": {"num_tasks": 3},
    "domain": {"num_tasks": 3},
}
NAMES = registry.names("scenarios")
pytestmark = pytest.mark.parametrize("name", NAMES)

NUM_CLASSES = 10
TRAIN = np.random.default_rng(1).permutation(np.repeat(np.arange(NUM_CLASSES), 7))
TEST = np.random.default_rng(2).permutation(np.repeat(np.arange(NUM_CLASSES), 4))


def stream(name, seed=3):
    plugin = registry.get("scenarios", name)
    section = ScenarioSection(name=name, **OPTIONS[name])
    return plugin(plugin_config(section)).split(TRAIN, TEST, NUM_CLASSES, seed)


def test_the_plug_in_is_described(name):
    plugin = registry.get("scenarios", name)
    assert issubclass(plugin.Config, PluginConfig)
    assert inspect.getdoc(plugin)
    assert all(field.description for key, field in plugin.Config.model_fields.items() if key != "name")


def test_tasks_partition_both_splits(name):
    tasks = stream(name).tasks
    assert len(tasks) > 1
    for which, labels in (("train", TRAIN), ("test", TEST)):
        positions = [getattr(task, which) for task in tasks]
        assert all(part.dtype == np.int64 and part.ndim == 1 and len(part) for part in positions)
        assert sorted(np.concatenate(positions)) == list(range(len(labels)))
        assert all(not set(one) & set(other) for one, other in itertools.combinations(positions, 2))


def test_classes_are_those_of_the_samples_after_renumbering(name):
    divided = stream(name)
    assert divided.class_map.dtype == np.int64
    assert sorted(divided.class_map) == list(range(NUM_CLASSES))
    for task in divided.tasks:
        assert all(isinstance(label, int) for label in task.classes)
        assert set(divided.class_map[TRAIN[task.train]].tolist()) == set(task.classes)


def test_the_same_options_give_the_same_stream(name):
    for one, other in zip(stream(name, seed=1).tasks, stream(name, seed=1).tasks, strict=True):
        assert np.array_equal(one.train, other.train)
        assert np.array_equal(one.test, other.test)
        assert one.classes == other.classes
