import time

import pytest
import torch

from rehearse.training.timing import PHASES, PhaseTimer


@pytest.fixture
def timer():
    return PhaseTimer(torch.device("cpu"))


def test_measures_each_phase_of_each_step(timer):
    for _ in range(3):
        with timer.phase("load"):
            time.sleep(0.002)
        with timer.phase("train"):
            time.sleep(0.004)
    summary = timer.summary()
    assert set(summary) == {"load", "train"}
    assert 2 <= summary["load"].p50_ms < summary["train"].p50_ms
    assert summary["load"].total_s == pytest.approx(summary["load"].mean_ms * 3 / 1e3)
    assert timer.last_ms()["train_ms"] >= 4


def test_nothing_measured_gives_nothing(timer):
    assert timer.summary() == {}
    assert timer.overhead_fraction() == 0.0


def test_the_share_of_measuring_falls_with_longer_steps():
    shares = []
    for pause_s in (0.0005, 0.01):
        timer = PhaseTimer(torch.device("cpu"))
        for _ in range(5):
            for phase in PHASES:
                with timer.phase(phase):
                    time.sleep(pause_s)
        shares.append(timer.overhead_fraction())
    assert 0 < shares[1] < shares[0] < 1
