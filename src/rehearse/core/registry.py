"""Plug-ins: one file each, registered under the name of their file.

A room is a package such as ``rehearse.strategies``. Its plug-ins are the modules inside;
the names are known without importing them, so that configuration can be checked without torch.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar

from rehearse.core.errors import PluginError

ROOMS = (
    "strategies",
    "backbones",
    "datasets",
    "scenarios",
    "loaders",
    "buffers",
    "communicators",
    "trackers",
)

T = TypeVar("T", bound=type)

_registered: dict[tuple[str, str], type] = {}


def register(plugin: T) -> T:
    """Register a class under (room, file stem), both read from its module.

    Raises:
        PluginError: The module is in no room, or registered another class before.
    """
    package, _, stem = plugin.__module__.rpartition(".")
    room = package.rpartition(".")[2]
    if room not in ROOMS:
        raise PluginError(f"{plugin.__module__}.{plugin.__qualname__} is registered outside of a plug-in room")
    key = (room, _name_of(stem))
    known = _registered.get(key)
    if known is not None and known.__qualname__ != plugin.__qualname__:
        raise PluginError(
            f"{room}: {key[1]!r} is registered twice, by {known.__qualname__} and {plugin.__qualname__}; "
            "one file holds one plug-in"
        )
    _registered[key] = plugin
    return plugin


@cache
def names(room: str) -> tuple[str, ...]:
    """Names of all plug-ins of a room, sorted; imports none of them."""
    spec = importlib.util.find_spec(f"rehearse.{room}")
    if room not in ROOMS or spec is None or spec.submodule_search_locations is None:
        raise PluginError(f"no plug-in room {room!r}; rooms: {', '.join(ROOMS)}")
    return _file_stems(spec.submodule_search_locations)


@cache
def figure_names() -> tuple[str, ...]:
    """Names of all figures, the files of ``rehearse/report/figures``, sorted; imports none of them."""
    spec = importlib.util.find_spec("rehearse.report.figures")
    if spec is None or spec.submodule_search_locations is None:
        raise PluginError("rehearse/report/figures is missing; install the package again")
    return _file_stems(spec.submodule_search_locations)


def get(room: str, name: str) -> type[Any]:
    """Import the plug-in's file and return its class; ``timm:vit_tiny`` names the plug-in ``timm``.

    Raises:
        PluginError: Unknown name (the nearest valid one is given), or a file that registers nothing.
    """
    stem = name.partition(":")[0]
    if stem not in names(room):
        raise PluginError(f"unknown {singular(room)} {name!r}{suggestion(stem, names(room))}")
    module = stem if importlib.util.find_spec(f"rehearse.{room}.{stem}") else f"{stem}_"
    importlib.import_module(f"rehearse.{room}.{module}")
    try:
        return _registered[room, stem]
    except KeyError:
        raise PluginError(f"rehearse/{room}/{module}.py registers no plug-in") from None


def suggestion(wrong: str, valid: tuple[str, ...]) -> str:
    """Text that names the nearest valid word and all choices, ready to append to a message."""
    near = difflib.get_close_matches(wrong, valid, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (choices: {', '.join(valid)})" if len(valid) <= 40 else hint


def singular(room: str) -> str:
    """The word for one plug-in of a room: ``strategies`` → ``strategy``."""
    return room[:-3] + "y" if room.endswith("ies") else room[:-1]


def _file_stems(locations: Iterable[str]) -> tuple[str, ...]:
    modules = pkgutil.iter_modules(locations)
    return tuple(sorted(_name_of(module.name) for module in modules if not module.name.startswith("_")))


def _name_of(stem: str) -> str:
    """A trailing underscore lets a file carry a Python keyword: ``class_.py`` → ``class``."""
    return stem.rstrip("_")
