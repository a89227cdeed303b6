"""One look for all figures: sizes for a two-column paper, and the same colour and marker for a strategy everywhere.

Colours of strategies are those of Okabe and Ito, "Color Universal Design" (2008), which remain
distinct with every common colour-vision deficiency; phases use Paul Tol's "light" scheme so that
no phase looks like a strategy.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

SINGLE_IN = 3.5
DOUBLE_IN = 7.0
FONT_PT = 8.0
SMALL_PT = 7.0
MUTED = "#555555"

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    # Shipped with matplotlib, so that a figure looks the same on every machine.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": FONT_PT,
    "axes.titlesize": FONT_PT,
    "axes.labelsize": FONT_PT,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "legend.fontsize": SMALL_PT,
    "figure.labelsize": SMALL_PT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.4,
    "figure.constrained_layout.h_pad": 0.04,
    "figure.constrained_layout.w_pad": 0.05,
    "figure.constrained_layout.hspace": 0.04,
    "figure.constrained_layout.wspace": 0.03,
    "savefig.dpi": 200,
    # TrueType keeps text in PDFs selectable and is what publishers ask for; paths in SVG need no fonts at all.
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "rehearse",
}


Line = Literal["-", "--", "-.", ":"]


@dataclass(frozen=True, slots=True)
class StrategyStyle:
    """How a strategy is drawn: its name in text, colour, marker and line."""

    name: str
    color: str
    marker: str
    line: Line = "-"


_KNOWN: dict[str, StrategyStyle] = {
    "incremental": StrategyStyle("incremental", "#D55E00", "v"),
    "from_scratch": StrategyStyle("from scratch", "#000000", "s"),
    "er": StrategyStyle("ER", "#0072B2", "o"),
    "der": StrategyStyle("DER", "#009E73", "D"),
    "derpp": StrategyStyle("DER++", "#CC79A7", "^"),
    "agem": StrategyStyle("A-GEM", "#E69F00", "P"),
    "icarl": StrategyStyle("iCaRL", "#56B4E9", "X"),
}
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "v", "D", "^", "P", "X", "s")
_LINES: tuple[Line, ...] = ("-", "--", "-.", ":")

_PHASE_COLORS: dict[str, str] = {
    "load": "#77AADD",
    "wait": "#EE8866",
    "assemble": "#EEDD88",
    "train": "#DDDDDD",
    "populate": "#44BB99",
    "plan": "#BBCC33",
    "fetch": "#FFAABB",
    "copy": "#99DDFF",
}
_OTHER_PHASES = ("#AAAA00", "#B8B8F0", "#C09A7A", "#F5F5F5")


def strategy_styles(labels: Iterable[str]) -> dict[str, StrategyStyle]:
    """A style for each label: known strategies have a fixed one, others get what is left, in sorted order.

    Labels beyond the palette repeat its colours with another line and marker.
    """
    labels = tuple(labels)
    styles = {label: _KNOWN[label] for label in labels if label in _KNOWN}
    taken = {style.color for style in styles.values()}
    free = [pair for pair in zip(_PALETTE, _MARKERS, strict=True) if pair[0] not in taken]
    looks: list[tuple[str, str, Line]] = [(color, marker, "-") for color, marker in free]
    for label, (color, marker, line) in zip(
        sorted(set(labels) - set(_KNOWN)), itertools.chain(looks, _repeats()), strict=False
    ):
        styles[label] = StrategyStyle(label, color, marker, line)
    return styles


def phase_colors(phases: Iterable[str]) -> dict[str, str]:
    """A colour for each phase of a step: fixed for the known ones, by sorted order for the rest."""
    phases = set(phases)
    others = zip(sorted(phases - set(_PHASE_COLORS)), itertools.cycle(_OTHER_PHASES), strict=False)
    return {phase: color for phase, color in _PHASE_COLORS.items() if phase in phases} | dict(others)


def wrap(text: str, width_in: float, font_pt: float = SMALL_PT) -> str:
    """Break text into lines of at most ``width_in``, also after ``_``, ``-`` and ``.`` as labels have no spaces."""
    # 0.62 em is the mean advance of DejaVu Sans for lower-case text with digits.
    width = max(6, int(width_in * 72 / (0.62 * font_pt)))
    lines = [""]
    for piece in re.findall(rf"[^ _.\-]{{0,{width - 1}}}[ _.\-]|[^ _.\-]{{1,{width}}}", text):
        if len(lines[-1]) + len(piece.rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _repeats() -> Iterator[tuple[str, str, Line]]:
    for turn, line in enumerate(itertools.cycle(_LINES[1:] + _LINES[:1]), 1):
        for position, color in enumerate(_PALETTE):
            yield color, _MARKERS[(position + turn) % len(_MARKERS)], line
