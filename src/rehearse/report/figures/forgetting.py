"""Forgetting and backward transfer of each strategy."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from rehearse.report import captions, layout, marks, tables
from rehearse.report.drawing import Drawing
from rehearse.report.load import Runs
from rehearse.report.statistics import spread_over_seeds
from rehearse.report.style import MUTED, strategy_styles

_KEY = ["dataset", "scaling", "strategy"]
# Between a mean and its seeds' dots.
_SHIFT_IN = 0.065
# All that can be forgotten, and room for the marker.
_FURTHEST_POINTS = 104
_METRICS = {"forgetting": "Forgetting (points)", "bwt": "Backward transfer (points)"}


def draw(all_runs: Runs) -> Drawing:
    """One row of panels per setting: forgetting on the left, backward transfer on the right."""
    runs = layout.fit_page(all_runs, layout.rows_height_in(all_runs))
    seeds, means = _numbers(runs)
    figure, panels = layout.panel_grid(2 * len(runs.settings), 2, layout.rows_height_in(runs))
    for index, setting in enumerate(runs.settings):
        for panel, metric in zip(panels[2 * index : 2 * index + 2], _METRICS, strict=True):
            layout.title(panel, setting.title)
            at = {"dataset": setting.dataset, "scaling": setting.scaling, "metric": metric}
            _draw_panel(panel, runs, tables.select(seeds, **at), tables.select(means, **at))
            panel.set_xlabel(_METRICS[metric])
            layout.name_rows(panel, runs, names=metric == "forgetting")
    for side in (0, 1):
        layout.share_limits(runs, panels[side::2], "x")
    layout.finish(figure, runs)
    return Drawing(
        title="Forgetting",
        figure=figure,
        numbers=pd.concat([means, seeds], ignore_index=True),
        caption=captions.complete(
            runs,
            "Forgetting (lower is better) is how far accuracy on a task falls from its best to its final value; "
            "backward transfer (higher is better) is the change from just after the task to the end. "
            "Both are averaged over all tasks but the last, in percentage points.",
            captions.interval(runs, "Markers", "bars"),
            "Grey dots: single seeds.",
            captions.narrowing(all_runs, runs),
        ),
        alt="Dot charts with error bars: forgetting and backward transfer, one row per strategy.",
    )


def _numbers(runs: Runs) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values of single seeds, and their means with intervals, both one row per metric."""
    frame = tables.cells(runs)
    seeds = frame.melt([*_KEY, "seed"], [f"{name}_fraction" for name in _METRICS], "metric", "fraction")
    seeds["metric"] = seeds["metric"].str.removesuffix("_fraction")
    seeds["value_points"] = 100 * seeds.pop("fraction")
    seeds = seeds.dropna(subset="value_points")
    means = spread_over_seeds(seeds, [*_KEY, "metric"], "value_points").drop(columns=["sd", "low", "high"])
    return seeds, means.rename(columns={"mean": "mean_points", "ci95": "ci95_points"})


def _draw_panel(panel: Axes, runs: Runs, seeds: pd.DataFrame, means: pd.DataFrame) -> None:
    if means.empty:
        panel.text(0.5, 0.5, "undefined for one task", transform=panel.transAxes, ha="center", va="center", color=MUTED)
        panel.set_xticks([])
        panel.grid(visible=False)
        return
    styles = strategy_styles(runs.campaign.strategies)
    shift = _SHIFT_IN / layout.row_height_in(runs)
    panel.axvline(0, color=MUTED, linewidth=0.6)
    for row, strategy in enumerate(runs.strategies):
        dots = seeds.loc[seeds["strategy"] == strategy, "value_points"]
        panel.plot(dots, [row + shift] * len(dots), ".", color="#999999", markersize=4)
        style = styles[strategy]
        for mean, ci95 in marks.values(tables.select(means, strategy=strategy), ["mean_points", "ci95_points"]):
            panel.errorbar(
                mean, row - shift / 2, xerr=ci95, color=style.color, marker=style.marker, capsize=2, linewidth=1.1
            )
    panel.margins(x=0.08)
    left, right = panel.get_xlim()
    # An interval from few seeds can end where no value can be.
    panel.set_xlim(max(left, -_FURTHEST_POINTS), min(right, _FURTHEST_POINTS))
