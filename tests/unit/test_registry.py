"""Plug-ins are found by the names of their files."""

import subprocess
import sys

import pytest

from rehearse.core import registry
from rehearse.core.errors import PluginError
from rehearse.core.registry import ROOMS, get, names, register, singular, suggestion


@pytest.mark.parametrize("room", ROOMS)
def test_every_plug_in_registers_a_class_with_options_under_its_name(room):
    for name in names(room):
        plugin = get(room, name)
        assert plugin.__module__.rpartition(".")[2].rstrip("_") == name
        assert "name" in plugin.Config.model_fields


def test_rooms_hold_what_the_default_campaign_needs():
    assert "digits" in names("datasets")
    assert "class" in names("scenarios")  # in class_.py
    assert {"er", "vanilla"} <= set(names("strategies"))


def test_names_are_known_without_importing():
    script = "import sys; from rehearse.core.registry import names; names('strategies'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_stands_after_a_colon_is_the_plug_ins_own():
    assert get("backbones", "timm:vit_tiny_patch16_224") is get("backbones", "timm")


def test_an_unknown_plug_in_is_refused_with_the_nearest_name():
    with pytest.raises(PluginError, match=r"unknown strategy 'vanila'; did you mean 'vanilla'\? \(choices: .*er"):
        get("strategies", "vanila")


def test_an_unknown_room_is_refused():
    with pytest.raises(PluginError, match="no plug-in room 'kitchens'; rooms: strategies, backbones"):
        names("kitchens")


@pytest.fixture
def in_module(monkeypatch):
    """Makes classes that seem to stand in a module; forgets what they registered."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    def make(module, name="Plugin"):
        return type(name, (), {"__module__": module, "__qualname__": name})

    return make


def test_a_second_registration_under_a_name_is_refused(in_module):
    register(in_module("rehearse.strategies.mine", "First"))
    with pytest.raises(PluginError) as caught:
        register(in_module("rehearse.strategies.mine", "Second"))
    wanted = "strategies: 'mine' is registered twice, by First and Second; one file holds one plug-in"
    assert str(caught.value) == wanted


def test_a_module_that_is_loaded_again_registers_again(in_module):
    register(in_module("rehearse.strategies.mine"))
    again = in_module("rehearse.strategies.mine")
    assert register(again) is again


def test_registration_outside_of_a_room_is_refused(in_module):
    with pytest.raises(PluginError, match=r"rehearse\.training\.mine\.Plugin is registered outside of a plug-in room"):
        register(in_module("rehearse.training.mine"))


@pytest.mark.parametrize(
    ("wrong", "valid", "text"),
    [
        ("er", ("er",), "; did you mean 'er'? (choices: er)"),
        ("xyz", ("er", "vanilla"), " (choices: er, vanilla)"),
        ("name7", tuple(f"name{n}" for n in range(50)), "; did you mean 'name7'?"),  # too many to list
    ],
)
def test_a_suggestion_names_the_nearest_and_all_choices(wrong, valid, text):
    assert suggestion(wrong, valid) == text


@pytest.mark.parametrize(("room", "word"), [("strategies", "strategy"), ("datasets", "dataset")])
def test_the_word_for_one(room, word):
    assert singular(room) == word
