"""A figure and the numbers it shows; found by name, drawn in one style, saved in four formats."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure

from rehearse.core.errors import OutputError, PluginError
from rehearse.core.registry import figure_names, suggestion
from rehearse.report.load import Runs
from rehearse.report.style import RC
from rehearse.report.tables import csv_text

# "default" first: a matplotlibrc of this user or machine must not change the pictures.
_STYLE: list[Any] = ["default", RC]
PICTURES = ("pdf", "png", "svg")
# Dates and versions of the drawing program would make two drawings of the same numbers differ.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "rehearse"},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "rehearse"},
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a file in ``report/figures`` returns.

    Attributes:
        title: Heading in the report.
        figure: The picture.
        numbers: Exactly what the picture shows, units in the column names.
        caption: What it shows and how: seeds, bands, what was left out.
        alt: What the picture looks like, for those who cannot see it.
    """

    title: str
    figure: Figure
    numbers: pd.DataFrame
    caption: str
    alt: str


def draw(name: str, runs: Runs) -> Drawing:
    """Draw a figure by name.

    Raises:
        PluginError: No figure has this name (the nearest valid one is given), or its file breaks the contract.
    """
    if name not in figure_names():
        raise PluginError(f"unknown figure {name!r}{suggestion(name, figure_names())}")
    module = importlib.import_module(f"rehearse.report.figures.{name}")
    draw_it: Callable[[Runs], Drawing] | None = getattr(module, "draw", None)
    if draw_it is None:
        raise PluginError(f"rehearse/report/figures/{name}.py has no function draw(runs)")
    with matplotlib.style.context(_STYLE):
        return draw_it(runs)


def picture(drawing: Drawing, kind: str) -> bytes:
    """The drawing as a ``pdf``, ``png`` or ``svg`` file; equal numbers give equal bytes."""
    stream = io.BytesIO()
    with matplotlib.style.context(_STYLE):
        drawing.figure.savefig(stream, format=kind, metadata=_METADATA[kind])
    return stream.getvalue()


def save(name: str, drawing: Drawing, directory: Path) -> list[Path]:
    """Write ``<name>.pdf``, ``.png``, ``.svg`` and, with the numbers shown, ``.csv``.

    Raises:
        OutputError: A file cannot be written.
    """
    contents = {kind: picture(drawing, kind) for kind in PICTURES}
    contents["csv"] = csv_text(drawing.numbers).encode()
    paths = []
    for kind, content in contents.items():
        path = directory / f"{name}.{kind}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        paths.append(path)
    return paths
