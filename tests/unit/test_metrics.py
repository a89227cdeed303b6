import pytest

from rehearse.training.metrics import compute_metrics

MATRIX = (
    (0.9, 0.2, None),
    (0.5, 0.8, 0.1),
    (0.4, 0.6, 0.7),
)
UNTRAINED = (0.1, 0.05, 0.02)


def test_hand_computed_values():
    metrics = compute_metrics(MATRIX, UNTRAINED)
    assert metrics.faa == pytest.approx((0.4 + 0.6 + 0.7) / 3)
    assert metrics.caa == pytest.approx((0.9 + (0.5 + 0.8) / 2 + (0.4 + 0.6 + 0.7) / 3) / 3)
    assert metrics.forgetting == pytest.approx(((0.9 - 0.4) + (0.8 - 0.6)) / 2)
    assert metrics.bwt == pytest.approx(((0.4 - 0.9) + (0.6 - 0.8)) / 2)
    assert metrics.fwt == pytest.approx(((0.2 - 0.05) + (0.1 - 0.02)) / 2)


def test_forgetting_uses_the_best_accuracy_not_the_first():
    matrix = ((0.5, None, None), (0.8, 0.6, None), (0.3, 0.6, 0.9))
    assert compute_metrics(matrix).forgetting == pytest.approx(((0.8 - 0.3) + 0.0) / 2)


def test_one_task_has_no_forgetting_and_no_transfer():
    metrics = compute_metrics(((0.7,),), (0.1,))
    assert (metrics.faa, metrics.caa) == (0.7, 0.7)
    assert metrics.forgetting is metrics.bwt is metrics.fwt is None


def test_rows_that_were_not_evaluated_give_none_instead_of_a_wrong_mean():
    metrics = compute_metrics(((None, None), (0.4, 0.6)))
    assert metrics.faa == pytest.approx(0.5)
    assert metrics.caa is metrics.forgetting is metrics.bwt is None
