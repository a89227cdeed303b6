import torch

from rehearse.core.batch import Batch


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
