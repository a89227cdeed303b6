import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.core import registry
from rehearse.core.config import ScenarioSection, plugin_config
from rehearse.core.errors import ConfigError, DataError, MissingDependencyError


def scenario(name, **options):
    return registry.get("scenarios", name)(plugin_config(ScenarioSection(name=name, **options)))


def labels(num_classes, per_class, seed=0):
    """Shuffled labels, the same number of each class."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(num_classes), per_class))


def check_partition(tasks, num_train, num_test):
    """Tasks are disjoint and cover the data."""
    for positions, size in (("train", num_train), ("test", num_test)):
        everything = np.concatenate([getattr(task, positions) for task in tasks])
        assert everything.dtype == np.int64
        assert sorted(everything) == list(range(size))
    assert [task.id for task in tasks] == list(range(len(tasks)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_class_tasks_are_disjoint_cover_the_data_and_have_the_increments(data):
    first, increment = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    num_further = data.draw(st.integers(0, 4))
    order_seed = data.draw(st.none() | st.integers(0, 1000))
    num_classes = first + increment * num_further
    train, test = labels(num_classes, 3), labels(num_classes, 2, seed=1)
    stream = scenario("class", initial_increment=first, increment=increment, class_order_seed=order_seed).split(
        train, test, num_classes, seed=5
    )
    assert [len(task.classes) for task in stream.tasks] == [first] + [increment] * num_further
    assert [label for task in stream.tasks for label in task.classes] == list(range(num_classes))
    assert sorted(stream.class_map) == list(range(num_classes))
    check_partition(stream.tasks, len(train), len(test))
    for task in stream.tasks:
        assert set(stream.class_map[train[task.train]]) == set(task.classes)
        assert set(stream.class_map[test[task.test]]) == set(task.classes)


def test_classes_keep_their_numbers_without_a_seed_of_their_order():
    stream = scenario("class", increment=2).split(labels(6, 4), labels(6, 4), 6, seed=9)
    assert stream.class_map.tolist() == list(range(6))
    assert [task.classes for task in stream.tasks] == [(0, 1), (2, 3), (4, 5)]


def test_the_order_of_classes_depends_on_its_own_seed_only():
    def class_map(order_seed, seed):
        options = {"increment": 2, "class_order_seed": order_seed}
        return scenario("class", **options).split(labels(10, 2), labels(10, 2), 10, seed).class_map.tolist()

    assert class_map(3, seed=1) == class_map(3, seed=2)
    assert class_map(3, seed=1) != class_map(4, seed=1)
    assert class_map(0, seed=1) != list(range(10)), "0 is a seed like any other"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"increment": 11}, "10 classes cannot be divided into 11 for the first task and 11 for each"),
        ({"increment": 3}, "10 classes cannot be divided into 3 for the first task and 3"),
        ({"increment": 4, "initial_increment": 4}, "10 classes cannot be divided into 4"),
        ({"increment": 2, "initial_increment": 12}, "10 classes cannot be divided into 12"),
        ({"increment": 0}, "greater than or equal to 1"),
        ({}, "increment: required, but missing"),
        ({"increment": 2, "class_order_sed": 1}, "did you mean 'class_order_seed'"),
    ],
)
def test_increments_that_do_not_add_up_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        scenario("class", **options).split(labels(10, 3), labels(10, 3), 10, seed=1)


def test_a_class_without_training_samples_is_named():
    with pytest.raises(DataError, match="1 of 6 classes have no training sample, the first is class 4"):
        scenario("class", increment=2).split(np.array([0, 1, 2, 3, 5, 5]), labels(6, 1), 6, seed=1)


def test_a_task_without_test_samples_is_named():
    with pytest.raises(DataError, match=r"task 1 \(classes \(2, 3\)\) has 6 training and 0 test samples"):
        scenario("class", increment=2).split(labels(4, 3), labels(2, 3), 4, seed=1)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["instance", "domain"]),
    num_tasks=st.integers(1, 6),
    num_classes=st.integers(1, 5),
    surplus=st.integers(0, 9),
)
def test_instance_tasks_are_disjoint_cover_the_data_and_share_every_class(name, num_tasks, num_classes, surplus):
    per_class = num_tasks + surplus
    train, test = labels(num_classes, per_class), labels(num_classes, num_tasks, seed=1)
    stream = scenario(name, num_tasks=num_tasks).split(train, test, num_classes, seed=5)
    assert len(stream.tasks) == num_tasks
    assert stream.class_map.tolist() == list(range(num_classes))
    check_partition(stream.tasks, len(train), len(test))
    share, left_over = divmod(per_class, num_tasks)
    for task in stream.tasks:
        assert task.classes == tuple(range(num_classes))
        expected = share + (left_over if task.id == 0 else 0)
        assert np.bincount(train[task.train]).tolist() == [expected] * num_classes
        assert np.bincount(test[task.test]).tolist() == [1] * num_classes


def test_instance_tasks_take_samples_in_their_order():
    train = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    tasks = scenario("instance", num_tasks=2).split(train, train, 2, seed=1).tasks
    assert [task.train.tolist() for task in tasks] == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("name", ["instance", "domain"])
@pytest.mark.parametrize(("train", "test", "what"), [(3, 9, "training"), (9, 3, "test"), (9, 0, "test")])
def test_more_tasks_than_samples_are_refused(name, train, test, what):
    few = min(train, test)
    with pytest.raises(DataError, match=f"scenario {name}: num_tasks is 5, but no class has more than {few} {what}"):
        scenario(name, num_tasks=5).split(labels(4, train), labels(4, test), 4, seed=1)


def test_scarce_classes_go_to_the_first_task_with_a_warning(caplog):
    train = np.array([0] * 8 + [1] * 2)
    with caplog.at_level("WARNING", logger="rehearse"):
        tasks = scenario("instance", num_tasks=4).split(train, train, 2, seed=1).tasks
    assert [task.classes for task in tasks] == [(0, 1), (0,), (0,), (0,)]
    assert "1 classes have fewer training samples than the 4 tasks" in caplog.text


@pytest.mark.parametrize(("name", "options"), [("class", {"increment": 1}), ("domain", {"num_tasks": 1})])
def test_a_missing_library_is_named_with_its_installation(monkeypatch, name, options):
    monkeypatch.setitem(sys.modules, "continuum", None)
    with pytest.raises(MissingDependencyError, match=rf"scenario {name} needs continuum.*pip install --no-deps cont"):
        scenario(name, **options)
