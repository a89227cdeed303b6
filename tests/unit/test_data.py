import numpy as np
import pytest

from rehearse.core.errors import DataError
from rehearse.core.protocols import Stream, TaskSpec
from rehearse.training import data
from support import cells


def task(number, train, test=(0,)):
    return TaskSpec(id=number, train=np.array(train), test=np.array(test), classes=(number,))


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_out_of_range_is_named_with_its_position(label):
    with pytest.raises(DataError, match=rf"digits: training set: label {label} of sample 2 is out of range 0–9"):
        data.check_labels(np.array([0, 9, label]), 10, "digits: training set")


def test_concatenated_tasks_train_on_all_so_far_and_test_apart():
    stream = data.concatenate(Stream(tasks=(task(0, [1, 2]), task(1, [3], [7]), task(2, [4])), class_map=np.arange(3)))
    assert [list(each.train) for each in stream.tasks] == [[1, 2], [1, 2, 3], [1, 2, 3, 4]]
    assert list(stream.tasks[1].test) == [7]


def test_more_ranks_than_samples_of_a_task_is_refused(tmp_path, dataset_dir):
    with pytest.raises(DataError, match=r"task 0 has \d+ training samples, fewer than 1000 ranks"):
        data.load_data(cells.cell().experiment, dataset_dir, num_ranks=1000)


def test_labels_follow_the_class_order_of_the_scenario(dataset_dir):
    experiment = cells.cell(
        experiment={"scenario": {"name": "class", "initial_increment": 2, "increment": 2, "class_order_seed": 3}}
    ).experiment
    loaded = data.load_data(experiment, dataset_dir, num_ranks=1)
    for each in loaded.stream.tasks:
        assert set(loaded.train_labels[each.train]) == set(each.classes) == {2 * each.id, 2 * each.id + 1}
    assert not np.array_equal(loaded.train_labels, loaded.train.labels)
