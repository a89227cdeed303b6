"""The buffer that falls back: on all ranks alike, and never in silence."""

import itertools
import logging

from rehearse.buffers import auto
from rehearse.core.errors import MissingDependencyError
from rehearse.core.log import logger
from support.fake_ranks import run_fake_ranks
from support.rehearsing import buffer, samples


def described(communicator):
    with buffer(communicator, 12, name="auto") as rehearsal:
        rehearsal.offer(samples(range(8), [1] * 8))
        assert len(rehearsal.take()[0]) == 7
        return rehearsal.describe()


def test_neomem_is_taken_where_it_is(caplog):
    for found in run_fake_ranks(2, described):
        assert (found["name"], found["requested"]) == ("neomem", "auto")
        assert "warning" not in found
    assert not caplog.records


def test_one_rank_without_neomem_makes_all_fall_back_and_the_leader_says_so(monkeypatch, caplog):
    ranks_asked = itertools.count()

    def load_engine():
        if next(ranks_asked) == 0:
            raise MissingDependencyError("Neomem", "the neomem buffer", "build it")

    monkeypatch.setattr(auto, "load_engine", load_engine)
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level(logging.WARNING):
        found = run_fake_ranks(2, described)
    assert found[0] == found[1]
    assert (found[0]["name"], found[0]["requested"]) == ("python", "auto")
    assert "build it" in found[0]["warning"]
    assert [record.getMessage() for record in caplog.records] == [found[0]["warning"]]
