import math

import pandas as pd
import pytest

from rehearse.report.statistics import spread, spread_over_seeds


def test_spread_matches_a_table_of_students_t():
    # t(0.975, 2) = 4.302653; the sample standard deviation of 1, 2, 3 is 1.
    found = spread([1.0, 2.0, 3.0])
    assert (found.mean, found.sd, found.low, found.high, found.num_seeds) == (2.0, 1.0, 1.0, 3.0, 3)
    assert found.ci95 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


def test_spread_of_two_and_of_ten_seeds():
    assert spread([0.5, 0.7]).ci95 == pytest.approx(12.706205 * 0.1, rel=1e-6)
    values = [float(value) for value in range(10)]
    assert spread(values).ci95 == pytest.approx(2.262157 * 3.0276504 / math.sqrt(10), rel=1e-6)


def test_one_seed_has_no_interval():
    found = spread([0.25])
    assert found.mean == 0.25
    assert found.num_seeds == 1
    assert math.isnan(found.sd)
    assert math.isnan(found.ci95)


def test_seeds_without_a_value_do_not_count():
    assert spread([math.nan, 1.0, 3.0]).num_seeds == 2
    nothing = spread([math.nan])
    assert nothing.num_seeds == 0
    assert math.isnan(nothing.mean)


def test_groups_keep_their_order():
    frame = pd.DataFrame({"strategy": ["b", "a", "b"], "scaling": ["n1r1"] * 3, "x": [1.0, 5.0, 3.0]})
    found = spread_over_seeds(frame, ["strategy", "scaling"], "x")
    assert found[["strategy", "mean", "num_seeds"]].values.tolist() == [["b", 2.0, 2], ["a", 5.0, 1]]


def test_no_rows_give_no_groups_but_all_columns():
    found = spread_over_seeds(pd.DataFrame({"strategy": [], "x": []}), ["strategy"], "x")
    assert list(found.columns) == ["strategy", "mean", "sd", "ci95", "low", "high", "num_seeds"]
    assert found.empty
