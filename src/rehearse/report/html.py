"""The report: one HTML file with figures, tables and provenance, which opens without a network."""

from __future__ import annotations

import base64
import importlib.metadata
import math
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from rehearse import __version__
from rehearse.core.records import write_atomically
from rehearse.report.drawing import draw, picture
from rehearse.report.load import Runs
from rehearse.report.provenance import gather_provenance
from rehearse.report.style import strategy_styles
from rehearse.report.tables import GROUP, TABLES, csv_text, summary

_MIME = {"csv": "text/csv", "json": "application/json", "pdf": "application/pdf", "svg": "image/svg+xml"}
_READING_ORDER = ("accuracy_per_task", "accuracy_matrix", "forgetting", "training_time", "scaling", "step_phases")
# Heading, quantity in the summary table, unit there, factor, decimals.
_QUANTITIES = (
    ("Final average accuracy (%)", "faa", "fraction", 100, 1),
    ("Cumulative average accuracy (%)", "caa", "fraction", 100, 1),
    ("Forgetting (points)", "forgetting", "fraction", 100, 1),
    ("Backward transfer (points)", "bwt", "fraction", 100, 1),
    ("Forward transfer (points)", "fwt", "fraction", 100, 1),
    ("Training time (s)", "training", "s", 1, 2),
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file inside the report, to be downloaded from it."""

    name: str
    content: bytes

    @property
    def uri(self) -> str:
        mime = _MIME[self.name.rpartition(".")[2]]
        return f"data:{mime};base64,{base64.b64encode(self.content).decode()}"

    @property
    def kind(self) -> str:
        """The ending, as a label: ``CSV``."""
        return self.name.rpartition(".")[2].upper()


def write_report(runs: Runs, path: Path) -> None:
    """Draw every figure of the campaign and write the report.

    Raises:
        OutputError: The file cannot be written.
    """
    write_atomically(path, render_report(runs))


def render_report(runs: Runs) -> str:
    """The report's HTML; equal runs give equal text."""
    environment = Environment(
        loader=PackageLoader("rehearse.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    provenance = gather_provenance(runs)
    return environment.get_template("report.html.j2").render(
        campaign=runs.campaign,
        configuration=_yaml_text(runs),
        note=runs.note,
        unfinished=runs.unfinished,
        num_cells=len(runs.finished),
        summary=_summary(runs),
        figures=[_figure(name, runs) for name in _figure_order(runs)],
        tables=[_table(name, runs) for name in TABLES],
        provenance=provenance,
        provenance_file=Attachment("provenance.json", provenance.document.encode()),
        versions=_versions(),
    )


def _figure_order(runs: Runs) -> list[str]:
    """Figures as the campaign lists them; if it lists none, from the outcome to its cost."""
    names = list(runs.campaign.figure_names())
    if runs.campaign.figures is None:
        names.sort(key=lambda name: _READING_ORDER.index(name) if name in _READING_ORDER else len(_READING_ORDER))
    return names


def _figure(name: str, runs: Runs) -> dict[str, Any]:
    drawing = draw(name, runs)
    files = [
        Attachment(f"figure_{name}.csv", csv_text(drawing.numbers).encode()),
        Attachment(f"figure_{name}.pdf", picture(drawing, "pdf")),
    ]
    return {
        "name": name,
        "drawing": drawing,
        "picture": Attachment(f"figure_{name}.svg", picture(drawing, "svg")),
        "files": files,
    }


def _table(name: str, runs: Runs) -> dict[str, Any]:
    frame = TABLES[name](runs)
    description = str(TABLES[name].__doc__).splitlines()[0]
    file = Attachment(f"{name}.csv", csv_text(frame).encode())
    return {"name": name, "description": description, "num_rows": len(frame), "file": file}


def _summary(runs: Runs) -> dict[str, Any]:
    frame = summary(runs)
    names = {label: style.name for label, style in strategy_styles(runs.campaign.strategies).items()}
    rows = []
    for _, line in frame.iterrows():
        dataset, strategy, scaling = (str(line[column]) for column in GROUP)
        cells = [_with_interval(line, *quantity[1:]) for quantity in _QUANTITIES]
        rows.append({"labels": [dataset, names[strategy], scaling], "num_seeds": line["num_seeds"], "cells": cells})
    return {"headings": [quantity[0] for quantity in _QUANTITIES], "rows": rows}


def _with_interval(line: pd.Series[Any], quantity: str, unit: str, factor: float, decimals: int) -> str:
    """``97.1 ± 0.4``; without the interval where there is one seed, a dash where the quantity is undefined."""
    mean, ci95 = factor * line[f"{quantity}_mean_{unit}"], factor * line[f"{quantity}_ci95_{unit}"]
    if math.isnan(mean):
        return "–"
    # A typographic minus, and no minus at all before a zero.
    text = f"{mean:z.{decimals}f}".replace("-", "−")
    return text if math.isnan(ci95) else f"{text} ± {ci95:.{decimals}f}"


def _yaml_text(runs: Runs) -> str:
    """The campaign as checked: with every default, without what is absent."""
    document = runs.campaign.model_dump(mode="json", exclude_none=True)
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text


def _versions() -> dict[str, str]:
    libraries = ("matplotlib", "numpy", "pandas", "scipy")
    found = {library: importlib.metadata.version(library) for library in libraries}
    return {"rehearse": __version__, "Python": platform.python_version(), **found}
