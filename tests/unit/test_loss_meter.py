import pytest
import torch

from rehearse.core import registry
from rehearse.core.errors import TrainingError
from rehearse.core.world import World
from rehearse.training.loss_meter import LossMeter


@pytest.fixture
def meter():
    kind = registry.get("communicators", "single")
    return LossMeter(kind(kind.Config(name="single"), World()), torch.device("cpu"))


def test_weighs_each_step_by_its_samples_and_starts_again_after_reading(meter):
    meter.add(torch.tensor(1.0), 30, step=0)
    meter.add(torch.tensor(4.0), 10, step=1)
    assert meter.read("none") == pytest.approx(70 / 40)
    meter.add(torch.tensor(3.0), 5, step=2)
    assert meter.read("none") == pytest.approx(3.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_names_the_first_bad_step_and_the_last_good_record(meter, bad):
    for step, loss in enumerate([1.0, bad, 2.0, bad]):
        meter.add(torch.tensor(loss), 8, step=step)
    with pytest.raises(TrainingError, match=r"since step 1; last good record: events\.jsonl, step 0"):
        meter.read("events.jsonl, step 0")
