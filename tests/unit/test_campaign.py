"""Campaign documents become cells, or a list of everything that is wrong with them."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rehearse.core.campaign import Campaign, load_campaign, load_workflow_campaign
from rehearse.core.cell import Cell, parse_scaling
from rehearse.core.config import validate
from rehearse.core.errors import ConfigError
from support.campaigns import documents, scalings, small

ROOT = Path(__file__).parents[2]


def load(document):
    return validate(Campaign, document, source="campaign")


def problems(document):
    """The problems of a document, without the line that counts them."""
    with pytest.raises(ConfigError) as caught:
        load(document)
    count, *lines = str(caught.value).split("\n  ")
    assert count == f"campaign: {len(lines)} problem{'s' if len(lines) != 1 else ''}"
    return lines


@given(documents())
def test_cells_are_the_product_of_the_matrix(document):
    cells = load(document).cells()
    block = document["matrix"][0]
    assert len(cells) == math.prod(map(len, block.values()))
    assert len({cell.id for cell in cells}) == len(cells)
    assert {cell.dataset for cell in cells} == set(block["datasets"])
    assert {(cell.scaling, cell.seed) for cell in cells} == {
        (scaling, seed) for scaling in block["scalings"] for seed in block["seeds"]
    }


@given(documents())
def test_a_cell_survives_its_config_file(document):
    for cell in load(document).cells():
        again = validate(Cell, json.loads(cell.canonical_json()), source="config.json")
        assert again == cell
        assert again.canonical_json() == cell.canonical_json()


@given(documents())
def test_expansion_is_a_pure_function(document):
    assert load(document).cells() == load(json.loads(json.dumps(document))).cells()


@given(documents(), st.integers(0, 2**31))
def test_another_seed_changes_no_other_cell(document, seed):
    before = {cell.id: cell.canonical_json() for cell in load(document).cells()}
    seeds = document["matrix"][0]["seeds"]
    document["matrix"][0]["seeds"] = [*dict.fromkeys([*seeds, seed])]
    after = {cell.id: cell.canonical_json() for cell in load(document).cells()}
    assert before.items() <= after.items()


@given(scalings)
def test_a_scaling_is_nodes_times_ranks(scaling):
    nodes, ranks = parse_scaling(scaling)
    assert scaling == f"n{nodes}r{ranks}"


def test_a_cell_knows_its_place():
    cell = load(small(matrix__0__scalings=["n4r8"])).cells()[0]
    assert cell.id == "small/digits/incremental/n4r8/seed-1"
    assert cell.directory(Path("results")) == Path("results/cells/small/digits/incremental/n4r8/seed-1")
    assert (cell.num_nodes, cell.ranks_per_node, cell.num_ranks, cell.seed) == (4, 8, 32, 1)


@pytest.mark.parametrize("scaling", ["n0r1", "n1r0", "n1", "4", "r2n1", "n01r1", "n1r1 ", ""])
def test_what_is_no_scaling(scaling):
    assert problems(small(matrix__0__scalings=[scaling])) == [
        f"matrix.0.scalings.0: expected nodes × ranks per node, such as n4r8, got {scaling!r}"
    ]
    with pytest.raises(ValueError, match="not a scaling"):
        parse_scaling(scaling)


CAMPAIGN_KEYS = "name, description, communicator, datasets, strategies, matrix, figures"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"datasetz": {}}, [f"datasetz: unknown key 'datasetz'; did you mean 'datasets'? (choices: {CAMPAIGN_KEYS})"]),
        ({"zzz": 1}, [f"zzz: unknown key 'zzz' (choices: {CAMPAIGN_KEYS})"]),
        ({"name": 3}, ["name: expected text, got 3"]),
        (
            {"name": "two words"},
            ["name: 'two words' must be letters, digits, '_', '-' and '.', and start with a letter or digit"],
        ),
        (
            {"datasets__../x": {"dataset": {"name": "digits"}, "backbone": {"name": "mnistnet"}}},
            ["datasets.../x: '../x' must be letters, digits, '_', '-' and '.', and start with a letter or digit"],
        ),
        ({"datasets": {}}, ["datasets: must not be empty"]),
        ({"matrix": []}, ["matrix: must not be empty"]),
        ({"matrix__0__seeds": []}, ["matrix.0.seeds: must not be empty"]),
        ({"matrix__0__seeds": 1}, ["matrix.0.seeds: expected a list, got 1"]),
        ({"matrix__0__seeds": [-1]}, ["matrix.0.seeds.0: must be greater than or equal to 0, got -1"]),
        ({"matrix__0__seeds": [1.5, True]}, ["matrix.0.seeds.0: expected a whole number, got 1.5",
                                             "matrix.0.seeds.1: expected a whole number, got True"]),
        ({"datasets__digits__dataset": "digits"}, ["datasets.digits.dataset: expected keys and values, got 'digits'"]),
        ({"datasets__digits__dataset": {}}, ["datasets.digits.dataset.name: required, but missing"]),
        ({"strategies__er": {}}, ["strategies.er.strategy: required, but missing"]),
        ({"datasets__digits__training__epochs": "many"},
         ["datasets.digits.training.epochs: expected a whole number or a list, got 'many'"]),
        ({"datasets__digits__training__epochs": [1, "x"]},
         ["datasets.digits.training.epochs: expected a whole number, got [1, 'x']",
          "datasets.digits.training.epochs.1: expected a whole number, got 'x'"]),
        ({"datasets__digits__training__epochs": 0}, ["datasets.digits.training: epochs must be at least 1, got 0"]),
        ({"datasets__digits__training__lr": "1e-6"}, ["datasets.digits.training.lr: expected a number, got '1e-6'"]),
        ({"datasets__digits__training__lr": math.inf},
         ["datasets.digits.training.lr: expected a finite number, got inf"]),
        ({"datasets__digits__training__lr": 0}, ["datasets.digits.training.lr: must be greater than 0, got 0"]),
        ({"datasets__digits__training__device": "gpu"},
         ["datasets.digits.training.device: must be 'auto', 'cpu' or 'cuda', got 'gpu'"]),
        ({"datasets__digits__training__regime": {"phases": [{"epoch": 3}]}},
         ["datasets.digits.training.regime: phases must start at epoch 0 and ascend, got [3]"]),
        ({"datasets__digits__training__regime": {"phases": [{"epoch": 0, "factor": 1}]}},
         ["datasets.digits.training.regime.phases.0.factor: unknown key 'factor'; did you mean 'lr_factor'? "
          "(choices: epoch, lr_factor, lr_offset, shape)"]),
        ({"matrix__0__datasets": ["digit"]},
         ["matrix.0.datasets: unknown label 'digit'; did you mean 'digits'? (choices: digits)"]),
        ({"matrix__0__strategies": ["er", "err", "xyz"]},
         ["matrix.0.strategies: unknown label 'err'; did you mean 'er'? (choices: incremental, er)",
          "matrix.0.strategies: unknown label 'xyz' (choices: incremental, er)"]),
        ({"matrix__0__seeds": [1, 2, 1]},
         ["matrix: cell digits/incremental/n1r1/seed-1 appears more than once",
          "matrix: cell digits/er/n1r1/seed-1 appears more than once"]),
    ],
)  # fmt: skip
def test_a_wrong_document_is_refused_in_these_words(changes, expected):
    assert problems(small(**changes)) == expected


def test_all_problems_are_listed_at_once_in_the_order_of_the_document():
    wrong = small(name=1, datasets__digits__training__lr=0, matrix__0__seeds=[], extra=2)
    assert [line.partition(":")[0] for line in problems(wrong)] == [
        "name", "datasets.digits.training.lr", "matrix.0.seeds", "extra",
    ]  # fmt: skip


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_a_document_that_is_no_mapping(document):
    assert problems(document) == [f"document: expected keys and values, got {document!r}"]


@pytest.mark.parametrize(
    ("path", "wrong", "near"),
    [
        ("datasets__digits__dataset__name", "digit", "unknown dataset 'digit'; did you mean 'digits'?"),
        ("datasets__digits__scenario__name", "clas", "unknown scenario 'clas'; did you mean 'class'?"),
        ("datasets__digits__backbone__name", "resnet-18", "unknown backbone 'resnet-18'; did you mean 'resnet18'?"),
        ("strategies__er__strategy__name", "ER", "unknown strategy 'ER'"),
        ("strategies__er__buffer__name", "pythn", "unknown buffer 'pythn'; did you mean 'python'?"),
        ("communicator", {"name": "horovot"}, "unknown communicator 'horovot'; did you mean 'horovod'?"),
    ],
)
def test_a_misspelt_plug_in_is_refused_with_the_nearest_name(path, wrong, near):
    (line,) = problems(small(**{path: wrong}))
    assert near in line
    assert "(choices: " in line


def test_figures_are_those_that_are_asked_for_in_their_order():
    wanted = ["training_time", "forgetting", "training_time"]
    assert load(small(figures=wanted)).figure_names() == ("training_time", "forgetting")
    assert set(wanted) < set(load(small()).figure_names())


def test_unknown_figures_are_refused():
    first, second = problems(small(figures=["forgeting", "forgetting", "xyz"]))
    assert first.startswith("figures: unknown 'forgeting'; did you mean 'forgetting'? (choices: ")
    assert second.startswith("figures: unknown 'xyz' (choices: ")


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_every_campaign_of_the_repository_loads(path):
    assert load_campaign(path).cells()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml.safe_dump(small()), encoding="utf-8")
    return path


def test_a_workflow_has_one_file(file):
    campaign, path, document = load_workflow_campaign([str(file)], small())
    assert (campaign.name, path, document) == ("small", file, small())


@pytest.mark.parametrize(("number", "named"), [(0, "only --config"), (2, "{0}, {0}")])
def test_a_workflow_of_another_number_of_files_is_refused(file, number, named):
    with pytest.raises(ConfigError) as caught:
        load_workflow_campaign([file] * number, small())
    wanted = f"one file is one campaign, got {named.format(file)}; give exactly one with --configfile FILE"
    assert str(caught.value) == wanted


def test_a_workflow_whose_file_was_changed_by_the_command_line_is_refused(file):
    with pytest.raises(ConfigError) as caught:
        load_workflow_campaign([file], small(name="other"))
    wanted = f"{file}: --config key=value would change the campaign unseen; edit a copy of it instead"
    assert str(caught.value) == wanted


def test_what_the_snakefile_imports_loads_neither_torch_nor_numpy():
    script = "import sys, rehearse.core.campaign, rehearse.core.staging; print([*sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"'torch'", "'numpy'", "'pandas'", "'snakemake'"} & set(loaded.strip("[]\n").split(", "))
