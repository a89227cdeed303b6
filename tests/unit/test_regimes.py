import itertools

import pytest

from rehearse.core import registry
from rehearse.core.config import validate
from rehearse.core.errors import ConfigError
from rehearse.core.experiment import Phase, Regime
from rehearse.training.regimes import Schedule

STEPS = 10


def schedule(regime, *, lr=0.1, num_ranks=1, epochs=30, warmup_epochs=0):
    return Schedule(
        regime=regime, lr=lr, num_ranks=num_ranks, epochs=epochs, warmup_epochs=warmup_epochs, steps_per_epoch=STEPS
    )


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0, 1), (20, 1), (21, 0.5), (25, 0.5), (26, 0.05), (27, 0.05), (28, 0.01), (29, 0.01)]
)
def test_resnet18_follows_the_table_of_30_epochs(epoch, factor):
    regime = registry.get("backbones", "resnet18").regime
    assert schedule(regime).at(epoch * STEPS) == pytest.approx(0.1 * factor)


@pytest.mark.parametrize(
    ("name", "epoch", "rate"),
    [
        ("resnet50", 20, 0.1),
        ("resnet50", 27, 0.005),
        ("ghostnet", 14, 0.1),
        ("ghostnet", 15, 0.05),
        ("ghostnet", 21, 0.005),
        ("ghostnet", 29, 0.001),
        ("mobilenetv3", 7, 0.1),
        ("mobilenetv3", 8, 0.1 - 6.25e-5),
        ("mobilenetv3", 21, 0.1 - 3 * 6.25e-5),
        ("mobilenetv3", 26, 0.1 - 5 * 6.25e-5),
        ("efficientnetv2", 0, 0.1),
        ("efficientnetv2", 15, 0.05),
        ("convnext", 15, 0.05),
    ],
)
def test_each_network_follows_its_table_of_30_epochs(name, epoch, rate):
    assert schedule(registry.get("backbones", name).regime).at(epoch * STEPS) == pytest.approx(rate)


def test_an_offset_never_makes_a_rate_negative():
    assert schedule(Regime(phases=(Phase(epoch=0, lr_offset=-1.0),))).at(0) == 0


@pytest.mark.parametrize(("epoch", "factor"), [(6, 1), (7, 0.5), (8, 0.5), (9, 0.05)])
def test_phases_stretch_with_the_number_of_epochs(epoch, factor):
    regime = registry.get("backbones", "resnet18").regime
    assert schedule(regime, epochs=10).at(epoch * STEPS) == pytest.approx(0.1 * factor)


def test_warmup_rises_linearly_by_step_to_the_scaled_rate():
    rates = [schedule(Regime(), num_ranks=4, warmup_epochs=2).at(step) for step in range(25)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == pytest.approx(0.1 + 0.3 / 2)
    assert rates[20:] == pytest.approx([0.4] * 5)
    steps = [late - early for early, late in itertools.pairwise(rates[:21])]
    assert steps == pytest.approx([0.3 / 20] * 20)


def test_no_warmup_starts_at_the_scaled_rate():
    assert schedule(Regime(), num_ranks=2).at(0) == pytest.approx(0.2)


def test_warmup_longer_than_the_task_is_valid():
    rates = [schedule(Regime(), num_ranks=2, epochs=1, warmup_epochs=5).at(step) for step in range(STEPS)]
    assert all(0.1 <= rate <= 0.2 for rate in rates)


def test_scaling_stops_at_64_ranks():
    assert schedule(Regime(), num_ranks=128).at(0) == pytest.approx(0.1 * 64)


def test_cosine_falls_from_the_rate_to_lr_min():
    regime = Regime(phases=(Phase(epoch=0, shape="cosine"),), lr_min=0.001)
    rates = [schedule(regime).at(step) for step in range(30 * STEPS)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[15 * STEPS] == pytest.approx((0.1 + 0.001) / 2)
    assert 0.001 < rates[-1] < 0.0011
    assert all(late < early for early, late in itertools.pairwise(rates))


@pytest.mark.parametrize(
    ("regime", "message"),
    [
        ({"phases": [{"epoch": 1}]}, "must start at epoch 0"),
        ({"phases": [{"epoch": 0}, {"epoch": 5}, {"epoch": 5}]}, "ascend"),
        ({"phases": [{"epoch": 0}, {"epoch": 30}]}, "last phase starts at epoch 30, but of_epochs is 30"),
        ({"optimiser": "SGD"}, "did you mean 'optimizer'?"),
    ],
)
def test_impossible_regimes_are_refused(regime, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        validate(Regime, regime, source="regime")
