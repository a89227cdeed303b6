"""Options of plug-ins, combinations of them, and `rehearse check`."""

import pytest
import yaml

from rehearse.core.campaign import Campaign
from rehearse.core.combinations import check_cell, check_experiment, doubts
from rehearse.core.config import BufferSection, ScenarioSection, plugin_config, section_problems, validate
from rehearse.core.errors import ConfigError
from rehearse.core.inspection import inspect_campaign, inspect_document
from support import cells
from support.campaigns import small


def campaign(**changes):
    return validate(Campaign, small(**changes), source="campaign")


def test_options_become_the_plug_ins_own_type():
    config = plugin_config(ScenarioSection(name="class", increment=2))
    assert (config.increment, config.initial_increment) == (2, 0)


def test_options_that_a_plug_in_refuses_are_all_named():
    with pytest.raises(ConfigError) as caught:
        plugin_config(ScenarioSection(name="class", increment=0, incremnt=3))
    assert str(caught.value) == (
        "scenario class: 2 problems\n"
        "  increment: must be greater than or equal to 1, got 0\n"
        "  incremnt: unknown key 'incremnt'; did you mean 'increment'? "
        "(choices: name, increment, initial_increment, class_order_seed)"
    )


def test_problems_of_a_section_carry_its_path():
    section = BufferSection(name="python", budget=1.5)
    assert section_problems(section, "strategies.er.buffer") == [
        "strategies.er.buffer.budget: expected a whole number, got 1.5"
    ]
    assert section_problems(BufferSection(name="python"), "strategies.er.buffer") == [
        "strategies.er.buffer: give either rehearsal_ratio (in % of the training set) or budget (in slots)"
    ]
    assert section_problems(BufferSection(name="python", budget=1), "strategies.er.buffer") == []


def test_a_strategy_that_rehearses_needs_a_buffer():
    experiment = campaign(strategies__er={"strategy": {"name": "er"}}).cells()[-1].experiment
    assert check_experiment(experiment) == ["buffer: er rehearses and needs one, for example name: neomem"]


def test_a_strategy_that_does_not_rehearse_takes_no_buffer():
    experiment = campaign(strategies__incremental__buffer={"name": "python", "budget": 1}).cells()[0].experiment
    assert check_experiment(experiment) == ["buffer: vanilla does not rehearse; leave the buffer out"]


def test_the_single_communicator_serves_one_rank():
    one, *_, many = campaign(communicator={"name": "single"}, matrix__0__scalings=["n1r1", "n2r2"]).cells()
    assert check_cell(one) == []
    assert check_cell(many) == ["communicator: single serves one rank, but n2r2 has 4; choose horovod or torch"]


def test_more_candidates_than_samples_are_doubted():
    variant = {"strategy": {"name": "er"}, "buffer": {"name": "python", "budget": 9, "num_candidates": 65}}
    experiment = campaign(strategies__er=variant).cells()[-1].experiment
    assert doubts(experiment) == [
        "buffer.num_candidates: 65 candidates are asked for, but a minibatch has only 64 samples (training.batch_size)"
    ]


def test_rehearsing_what_is_trained_on_in_full_is_doubted():
    experiment = campaign(strategies__er__concatenate_tasksets=True).cells()[-1].experiment
    assert doubts(experiment) == [
        "concatenate_tasksets: past tasks are trained on in full, and rehearsed from the buffer as well"
    ]


def test_a_campaign_is_inspected_in_every_variant_at_once():
    wrong = campaign(
        communicator={"name": "horovod", "timeout": 3},
        datasets__digits__scenario__increment=0,
        datasets__digits__loader={"name": "torch", "workers": 1},
        strategies__er__buffer={"name": "python", "budget": 0},
    )
    findings = inspect_campaign(wrong)
    assert [line.partition(":")[0] for line in findings.problems] == [
        "communicator.timeout",
        "datasets.digits.scenario.increment",
        "datasets.digits.loader.workers",
        "strategies.er.buffer.budget",
    ]


def test_one_mistake_does_not_hide_another():
    """A wrong name, a wrong type, a wrong option, an unknown label and a cell twice: five lines."""
    document = campaign(
        datasets__digits__backbone={"name": "mnistnet"},
        strategies__er={"strategy": {"name": "er"}, "buffer": {"name": "python", "budget": 9}},
    ).model_dump(mode="json")
    document["datasets"]["digits"]["backbone"]["name"] = "mnistnit"
    document["datasets"]["digits"]["training"]["batch_size"] = "16"
    document["strategies"]["er"]["buffer"]["budgett"] = 30
    document["matrix"] = [
        {"datasets": ["digits", "digts"], "strategies": ["er"], "scalings": ["n1r1"], "seeds": [1, 1]},
        {"datasets": "digits"},
    ]
    problems = inspect_document(document).problems
    assert [line.partition(":")[0] for line in problems] == [
        "datasets.digits.backbone.name",
        "datasets.digits.training.batch_size",
        "matrix.1.datasets",
        "matrix.1.strategies",
        "matrix.1.scalings",
        "matrix.1.seeds",
        "matrix.0.datasets",
        "matrix",
        "strategies.er.buffer.budgett",
    ]


def test_combinations_are_named_once_by_their_place_in_the_campaign():
    wrong = campaign(
        communicator={"name": "single"},
        strategies__er={"strategy": {"name": "er"}},
        matrix__0__scalings=["n1r1", "n1r2"],
        matrix__0__seeds=[1, 2, 3],
    )
    assert inspect_campaign(wrong).problems == (
        "communicator: single serves one rank, but n1r2 has 2; choose horovod or torch",
        "strategies.er.buffer: er rehearses and needs one, for example name: neomem",
    )


def test_doubts_are_placed_too():
    variant = {"strategy": {"name": "er"}, "buffer": {"name": "python", "budget": 9, "num_candidates": 65}}
    findings = inspect_campaign(campaign(strategies__er=variant))
    assert findings.problems == ()
    assert findings.doubts == (
        "strategies.er.buffer.num_candidates: 65 candidates are asked for, but a minibatch has only 64 samples "
        "(training.batch_size)",
    )


@pytest.fixture
def check(tmp_path):
    """Runs `rehearse check` on a document; returns exit code, standard output and error, without the file's path."""

    def check(document):
        path = tmp_path / "campaign.yaml"
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
        done = cells.rehearse("check", path)
        return done.returncode, done.stdout.replace(str(path), "FILE"), done.stderr.replace(str(path), "FILE")

    return check


def test_check_counts_what_is_right(check):
    code, out, err = check(small(figures=["forgetting"]))
    assert (code, out, err) == (0, "FILE: 4 cells, 1 figures, no problems\n", "")


def test_check_lists_what_is_wrong_and_exits_with_2(check):
    code, out, err = check(small(strategies__er__buffer={"name": "python", "budget": 5, "num_candidats": 3}))
    assert (code, out) == (2, "")
    assert err.startswith(
        "rehearse: error: FILE: 1 problem\n  strategies.er.buffer.num_candidats: unknown key 'num_candidats'; "
        "did you mean 'num_candidates'? (choices: name, "
    )


def test_check_warns_of_what_is_surely_not_meant(check):
    code, _, err = check(small(strategies__er__concatenate_tasksets=True))
    assert code == 0
    assert err == (
        "rehearse: warning: FILE: strategies.er.concatenate_tasksets: past tasks are trained on in full, "
        "and rehearsed from the buffer as well\n"
    )


def test_check_names_the_line_of_a_mistake_in_yaml(check):
    code, _, err = check("name: x\nmatrix: [\n")
    assert code == 2
    assert err.startswith("rehearse: error: FILE:3:1: not well-formed YAML: while parsing a flow node")
