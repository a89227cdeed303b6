"""Marks that several figures share."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rehearse.report.load import Runs
from rehearse.report.style import StrategyStyle, strategy_styles

_MAX_MARKERS = 12


def strategy_handles(runs: Runs) -> list[Line2D]:
    """One legend entry per strategy that was run."""
    styles = strategy_styles(runs.campaign.strategies)
    return [_handle(styles[label]) for label in runs.strategies]


def band_line(panel: Axes, frame: pd.DataFrame, x: str, unit: str, style: StrategyStyle) -> None:
    """A line through ``mean_<unit>`` with a band from ``lowest_<unit>`` to ``highest_<unit>``."""
    every = -(-len(frame) // _MAX_MARKERS) or 1
    panel.plot(
        frame[x], frame[f"mean_{unit}"], color=style.color, marker=style.marker, linestyle=style.line, markevery=every
    )
    low, high = frame[f"lowest_{unit}"], frame[f"highest_{unit}"]
    panel.fill_between(frame[x], low, high, color=style.color, alpha=0.2, linewidth=0)


def values(frame: pd.DataFrame, columns: list[str]) -> Iterable[tuple[float, ...]]:
    """The rows of some columns as tuples of numbers."""
    return (tuple(float(value) for value in row) for row in frame[columns].to_numpy())


def _handle(style: StrategyStyle) -> Line2D:
    return Line2D([], [], color=style.color, marker=style.marker, linestyle=style.line, label=style.name)
