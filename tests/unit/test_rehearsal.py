import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearse.buffers._quotas import QuotaTable, SharedQuotas
from rehearse.core.config import validate
from rehearse.core.errors import ConfigError
from rehearse.core.rehearsal import BufferConfig, class_quota, class_total, shard_capacity

budgets = st.integers(1, 500)
worlds = st.integers(1, 17)
class_numbers = st.integers(1, 40)


@given(budgets, worlds)
def test_the_shards_together_are_the_budget(budget, num_ranks):
    capacities = [shard_capacity(budget, num_ranks, rank) for rank in range(num_ranks)]
    assert sum(capacities) == budget
    assert max(capacities) - min(capacities) <= 1


@given(budgets, worlds, class_numbers)
def test_class_quotas_sum_exactly_over_ranks_and_over_classes(budget, num_ranks, num_classes):
    table = [
        [class_quota(budget, num_classes, place, num_ranks, rank) for rank in range(num_ranks)]
        for place in range(num_classes)
    ]
    totals = [class_total(budget, num_classes, place) for place in range(num_classes)]
    assert [sum(row) for row in table] == totals
    assert sum(totals) == budget
    assert max(totals) - min(totals) <= 1
    assert [sum(column) for column in zip(*table, strict=True)] == [
        shard_capacity(budget, num_ranks, rank) for rank in range(num_ranks)
    ]
    assert all(max(row) - min(row) <= 1 for row in table), "a class lies evenly on the ranks"


@given(budgets, worlds, class_numbers)
def test_shared_quotas_sum_exactly_and_never_grow_when_a_class_arrives(budget, num_ranks, num_classes):
    table, before = QuotaTable(budget, num_ranks), None
    for count in range(1, num_classes + 1):
        table.grow_to(count)
        quotas = [[table.quota(place, rank) for rank in range(num_ranks)] for place in range(count)]
        assert min(map(min, quotas)) >= 0
        assert [sum(row) for row in quotas] == [class_total(budget, count, place) for place in range(count)]
        assert [sum(column) for column in zip(*quotas, strict=True)] == [
            shard_capacity(budget, num_ranks, rank) for rank in range(num_ranks)
        ]
        if before is not None:
            assert all(
                new <= old
                for new_row, old_row in zip(quotas, before, strict=False)
                for new, old in zip(new_row, old_row, strict=True)
            )
        before = quotas


@given(st.permutations(range(9)), st.integers(1, 8))
def test_ranks_agree_on_quotas_in_whatever_order_they_saw_the_classes(order, num_at_once):
    one_by_one, in_groups = SharedQuotas(50, 3, 1), SharedQuotas(50, 3, 1)
    for label in order:
        assert one_by_one.admit([label])
    for start in range(0, len(order), num_at_once):
        in_groups.admit(order[start : start + num_at_once])
    assert not in_groups.admit(order)
    assert [one_by_one[label] for label in range(9)] == [in_groups[label] for label in range(9)]


def test_the_budget_is_a_share_of_the_training_set_or_a_number_of_slots():
    assert config(rehearsal_ratio=30).num_slots(1797) == 539
    assert config(rehearsal_ratio=0.001).num_slots(100) == 1
    assert config(budget=12).num_slots(1797) == 12


@given(st.integers(1, 1000))
def test_a_share_is_not_rounded_down_by_floating_point(per_mille):
    # In floating point, 4.1 % of 1000 is 40.99999999999999.
    assert config(rehearsal_ratio=per_mille / 10).num_slots(1000) == per_mille


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either rehearsal_ratio"),
        ({"rehearsal_ratio": 5, "budget": 5}, "either rehearsal_ratio"),
        ({"rehearsal_ratio": 101}, "less than or equal to 100"),
        ({"budget": 0}, "greater than or equal to 1"),
        ({"budget": 5, "num_representatives": 0}, "num_representatives"),
        ({"budget": 5, "policy": "fifo"}, "policy"),
        ({"budget": 5, "num_candidate": 3}, "did you mean 'num_candidates'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        config(**options)


def config(**options):
    return validate(BufferConfig, {"name": "python", **options}, source="buffer")
