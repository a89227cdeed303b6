"""The committed JSON schema and reference page: up to date, and of one mind with the types."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given

from rehearse.core.campaign import Campaign
from rehearse.core.config import SECTIONS, validate
from rehearse.core.document import read_document
from rehearse.core.inspection import inspect_campaign
from rehearse.core.records import to_json
from rehearse.core.reference import reference_page
from rehearse.core.registry import names
from rehearse.core.schema import campaign_schema
from support.campaigns import documents, small

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="module")
def schema():
    return campaign_schema()


@pytest.fixture(scope="module")
def committed():
    return jsonschema.Draft202012Validator(json.loads((CONFIG / "campaign.schema.json").read_text("utf-8")))


def test_the_committed_schema_is_up_to_date(schema):
    assert (CONFIG / "campaign.schema.json").read_text("utf-8") == to_json(schema), "run: make docs"


def test_the_committed_reference_page_is_up_to_date(schema):
    assert (CONFIG / "README.md").read_text("utf-8") == reference_page(schema), "run: make docs"


def test_the_schema_is_a_schema(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_plug_in_and_key_is_described(schema):
    rooms = [section.room for section in SECTIONS if section.__name__ in schema["$defs"]]
    assert {f"{room}.{name}" for room in rooms for name in names(room)} <= schema["$defs"].keys()
    for model, definition in schema["$defs"].items():
        for key, field in definition.get("properties", {}).items():
            assert field.keys() & {"description", "const", "pattern"}, f"{model}.{key} has no description"


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.name)
def test_every_campaign_of_the_repository_is_valid(committed, path):
    committed.validate(read_document(path))


@given(documents())
def test_what_the_types_accept_the_schema_accepts(document):
    schema = json.loads((CONFIG / "campaign.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)


def problems_of_types(document):
    return inspect_campaign(validate(Campaign, document, source="campaign")).problems


@pytest.mark.parametrize(
    "changes",
    [
        {"strategies__er__buffer": {"name": "python", "budget": 1, "num_candidate": 1}},
        {"strategies__er__buffer": {"name": "python", "budget": 0}},
        {"strategies__er__buffer": {"name": "python", "budget": 1, "policy": "best"}},
        {"datasets__digits__scenario": {"name": "class"}},
        {"datasets__digits__scenario__increment": "two"},
        {"datasets__digits__backbone": {"name": "resnet18", "stem": "huge"}},
        {"datasets__digits__loader": {"name": "torch", "num_workers": -1}},
        {"communicator": {"name": "torch", "backend": "mpi"}},
    ],
)
def test_a_wrong_option_of_a_plug_in_is_refused_by_both(committed, changes):
    document = small(**changes)
    before = copy.deepcopy(document)
    assert problems_of_types(document)
    assert not committed.is_valid(document)
    assert document == before  # defaults are not written into it


@pytest.mark.parametrize(
    "changes",
    [
        {"datasets__digits__backbone": {"name": "timm:vit_tiny_patch16_224", "arguments": {"drop_rate": 0.1}}},
        {"datasets__digits__training__epochs": [3, 1]},
        {"datasets__digits__training__regime": {"phases": [{"epoch": 0, "shape": "cosine"}]}},
        {"datasets__digits__scenario": None},
        {"strategies__er__buffer": {"name": "python", "rehearsal_ratio": 1e-6}},
    ],
)
def test_rarer_options_are_accepted_by_both(committed, changes):
    document = small(**changes)
    assert problems_of_types(document) == ()
    committed.validate(document)
