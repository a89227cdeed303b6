"""What a training step spends its time on."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from rehearse.report import captions, layout, tables
from rehearse.report.drawing import Drawing
from rehearse.report.load import Runs
from rehearse.report.statistics import spread_over_seeds
from rehearse.report.style import MUTED, SMALL_PT, phase_colors

_KEY = ["dataset", "scaling", "strategy"]
_FOREGROUND = ("load", "wait", "assemble", "train")
# Work of the rehearsal engine's threads, which overlaps the step instead of adding to it.
_BACKGROUND = ("populate", "plan", "fetch", "copy")
_COLUMNS = 2
_BAR_IN = 0.15
_THIN_BAR_IN = 0.1
# From the middle of a row to a thin bar; numbers beside the two bars just do not touch.
_SHIFT_IN = 0.06
_HATCH = "////"

Looks = dict[str, dict[str, Any]]


def draw(all_runs: Runs) -> Drawing:
    """One panel per setting, one stacked bar per strategy, a hatched one below it for background work."""
    height_in = layout.rows_height_in(all_runs) + 0.1
    runs = layout.fit_page(all_runs, height_in, _COLUMNS)
    numbers = _numbers(runs)
    phases = _order(numbers)
    looks = _looks_of(phases)
    figure, panels = layout.panel_grid(len(runs.settings), layout.columns(runs, _COLUMNS), height_in)
    for panel, setting in zip(panels, runs.settings, strict=True):
        shown = tables.select(numbers, dataset=setting.dataset, scaling=setting.scaling)
        for row, strategy in enumerate(runs.strategies):
            _draw_bars(panel, row, tables.select(shown, strategy=strategy), layout.row_height_in(runs), looks)
        layout.name_rows(panel, runs, names=layout.is_leftmost(panel))
        panel.grid(visible=False, axis="y")
        layout.title(panel, setting.title)
        # Room for the number at the end of the longest bar.
        panel.set_xlim(0, 1.3 * panel.dataLim.x1)
    layout.label_bottom(panels, "Time per step (ms)")
    layout.finish(figure, runs, [Patch(**looks[phase], label=phase) for phase in phases])
    return Drawing(
        title="Phases of a training step",
        figure=figure,
        numbers=numbers,
        caption=captions.complete(
            runs,
            "Mean time of the phases of one training step: waiting for data (load) and for representatives (wait), "
            "joining both on the device (assemble), forward, backward, gradient exchange and update (train). "
            "The number is their sum.",
            "Hatched bars: work of the rehearsal engine in the background, at the same time as the step."
            if set(phases) & set(_BACKGROUND)
            else "",
            "A value is the mean over all steps of a run.",
            captions.mean(runs),
            captions.narrowing(all_runs, runs),
        ),
        alt="Stacked bar chart: time of each phase of a training step, one bar per strategy.",
    )


def _numbers(runs: Runs) -> pd.DataFrame:
    found = spread_over_seeds(tables.phases(runs), [*_KEY, "phase"], "mean_ms").drop(
        columns=["sd", "ci95", "low", "high"]
    )
    return found.rename(columns={"mean": "step_mean_ms"})


def _order(numbers: pd.DataFrame) -> list[str]:
    """Phases as they are stacked: the known ones in the order of a step, others after them, background last."""
    present = set(numbers["phase"])
    others = sorted(present.difference(_FOREGROUND, _BACKGROUND))
    return [phase for phase in (*_FOREGROUND, *others, *_BACKGROUND) if phase in present]


def _draw_bars(panel: Axes, row: int, shown: pd.DataFrame, row_height_in: float, looks: Looks) -> None:
    """One bar, or two thinner ones where there is work in the background."""
    times_ms = dict(zip(shown["phase"], shown["step_mean_ms"], strict=True))
    phases = _order(shown)
    foreground = [(phase, times_ms[phase]) for phase in phases if phase not in _BACKGROUND]
    background = [(phase, times_ms[phase]) for phase in phases if phase in _BACKGROUND]
    shift = _SHIFT_IN / row_height_in if background else 0.0
    thickness = (_THIN_BAR_IN if background else _BAR_IN) / row_height_in
    _draw_stack(panel, row - shift, thickness, foreground, looks)
    if background:
        _draw_stack(panel, row + shift, thickness, background, looks)


def _draw_stack(panel: Axes, y: float, thickness: float, times_ms: list[tuple[str, float]], looks: Looks) -> None:
    """Phases end to end, with their sum at the end."""
    left_ms = 0.0
    for phase, time_ms in times_ms:
        panel.barh(y, time_ms, thickness, left_ms, **looks[phase])
        left_ms += time_ms
    total = f"{left_ms:.0f}" if left_ms >= 100 else f"{left_ms:#.3g}"
    panel.annotate(
        total, (left_ms, y), (3, 0), textcoords="offset points", va="center_baseline", fontsize=SMALL_PT, color=MUTED
    )


def _looks_of(phases: list[str]) -> Looks:
    return {
        phase: {
            "facecolor": color,
            "edgecolor": "#666666",
            "linewidth": 0.25,
            "hatch": _HATCH if phase in _BACKGROUND else "",
        }
        for phase, color in phase_colors(phases).items()
    }
