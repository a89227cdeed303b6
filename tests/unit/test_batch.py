import pytest
import torch

from rehearse.core.batch import Batch, joined


def batch(values, num_global, num_ranks=1, **targets):
    inputs = torch.tensor(values, dtype=torch.float32).view(-1, 1)
    return Batch(
        inputs=inputs,
        labels=torch.arange(len(values)),
        num_global=num_global,
        num_ranks=num_ranks,
        targets={name: torch.tensor(rows) for name, rows in targets.items()},
    )


def test_shares_of_uneven_ranks_average_to_the_global_mean():
    shares = [batch([1.0, 2.0, 6.0], 4, 2), batch([3.0], 4, 2)]
    mean_of_shares = sum(share.mean(share.inputs) for share in shares) / 2
    assert mean_of_shares == torch.tensor([1.0, 2.0, 6.0, 3.0]).mean()


def test_the_share_of_an_empty_rank_is_zero():
    empty = batch([], 3, 2)
    assert empty.mean(empty.inputs) == 0


def test_concat_appends_every_tensor_and_counts_all_ranks():
    both = batch([1.0, 2.0], 5, 2, amplitude=[10.0, 20.0]).concat(batch([3.0], 2, 2, amplitude=[30.0]))
    assert both.inputs.flatten().tolist() == [1.0, 2.0, 3.0]
    assert both.labels.tolist() == [0, 1, 0]
    assert both.targets["amplitude"].tolist() == [10.0, 20.0, 30.0]
    assert both.num_global == 7


def test_a_rank_without_representatives_still_counts_those_of_others():
    assert batch([1.0], 2, 2).concat(batch([], 7, 2)).num_global == 9


def test_rows_that_follow_each_other_in_memory_are_joined_without_a_copy():
    block = torch.arange(24).view(6, 2, 2)[1:]
    whole = joined(block[:2], block[2:])
    assert torch.equal(whole, block)
    assert whole.data_ptr() == block.data_ptr()
    assert torch.equal(joined(block[:0], block), block)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (slice(2, 4), slice(0, 2)),
        (slice(0, 2), slice(3, 5)),
        (slice(0, 2), slice(0, 2)),
        (slice(0, 4, 2), slice(4, 6)),
    ],
)
def test_other_rows_are_copied(first, second):
    block = torch.arange(12).view(6, 2)
    whole = joined(block[first], block[second])
    assert whole.tolist() == block[first].tolist() + block[second].tolist()
    assert whole.data_ptr() != block[first].data_ptr()


def test_neighbours_of_other_tensors_or_dtypes_are_copied():
    assert joined(torch.zeros(2, 3), torch.ones(1, 3)).tolist() == [[0] * 3, [0] * 3, [1] * 3]
    block = torch.zeros(8, dtype=torch.int32)
    assert joined(block[:4], block[4:].view(torch.float32)).dtype == torch.float32
    rows = torch.arange(12).view(3, 4)
    assert joined(rows[:, :2], rows[:, 2:]).tolist() == rows[:, :2].tolist() + rows[:, 2:].tolist()
