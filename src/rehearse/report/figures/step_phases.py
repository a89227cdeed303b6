"""What a training step spends its time on."""

from __future__ import annotations

import pandas as pd
from matplotlib.artist import Artist
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
_HATCH = "////"


def draw(all_runs: Runs) -> Drawing:
    """One panel per setting, one stacked bar per strategy, a hatched one below it for background work."""
    height_in = layout.rows_height_in(all_runs) + 0.1
    runs = layout.fit_page(all_runs, height_in, _COLUMNS)
    numbers = _numbers(runs)
    phases = _order(numbers)
    figure, panels = layout.panel_grid(len(runs.settings), layout.columns(runs, _COLUMNS), height_in)
    for panel, setting in zip(panels, runs.settings, strict=True):
        shown = tables.select(numbers, dataset=setting.dataset, scaling=setting.scaling)
        for row, strategy in enumerate(runs.strategies):
            _draw_bars(panel, row, tables.select(shown, strategy=strategy), phases)
        layout.name_rows(panel, runs, names=layout.is_leftmost(panel))
        panel.grid(visible=False, axis="y")
        layout.title(figure, panel, setting.title)
        # Room for the number at the end of the longest bar.
        panel.set_xlim(0, 1.3 * panel.dataLim.x1)
    layout.label_bottom(panels, "Time per step (ms)")
    layout.finish(figure, runs, _handles(phases))
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
    found = spread_over_seeds(tables.phases(runs), [*_KEY, "phase"], "mean_ms").drop(columns="sd")
    return found.rename(columns={"mean": "step_mean_ms", "ci95": "step_ci95_ms"})


def _order(numbers: pd.DataFrame) -> list[str]:
    """Phases as they are stacked: the known ones in the order of a step, others after them, background last."""
    present = set(numbers["phase"])
    others = sorted(present.difference(_FOREGROUND, _BACKGROUND))
    return [phase for phase in (*_FOREGROUND, *others, *_BACKGROUND) if phase in present]


def _draw_bars(panel: Axes, row: int, shown: pd.DataFrame, phases: list[str]) -> None:
    times_ms = dict(zip(shown["phase"], shown["step_mean_ms"], strict=True))
    foreground = [phase for phase in phases if phase in times_ms and phase not in _BACKGROUND]
    background = [phase for phase in phases if phase in times_ms and phase in _BACKGROUND]
    for stack, hatch, offset in ((foreground, "", -0.16 if background else 0.0), (background, _HATCH, 0.24)):
        left_ms = 0.0
        for phase in stack:
            color = phase_colors(phases)[phase]
            height = 0.3 if background else 0.5
            panel.barh(
                row + offset,
                times_ms[phase],
                height,
                left_ms,
                color=color,
                edgecolor="#333333",
                linewidth=0.4,
                hatch=hatch,
            )
            left_ms += times_ms[phase]
        if stack:
            panel.annotate(
                f"{left_ms:.0f}" if left_ms >= 100 else f"{left_ms:#.3g}",
                (left_ms, row + offset),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL_PT,
                color=MUTED,
            )


def _handles(phases: list[str]) -> list[Artist]:
    colors = phase_colors(phases)
    return [
        Patch(
            facecolor=colors[phase],
            edgecolor="#333333",
            linewidth=0.4,
            label=phase,
            hatch=_HATCH if phase in _BACKGROUND else "",
        )
        for phase in phases
    ]
