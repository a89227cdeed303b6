"""Training time of each strategy, in all and as tasks go by."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from rehearse.report import captions, layout, marks, tables
from rehearse.report.drawing import Drawing
from rehearse.report.load import Runs
from rehearse.report.statistics import spread_over_seeds
from rehearse.report.style import strategy_styles

_BAR_IN = 0.16
_KEY = ["dataset", "scaling", "strategy"]


def draw(all_runs: Runs) -> Drawing:
    """One row of panels per setting: the total on the left, its growth over tasks on the right."""
    height_in = max(1.7, layout.rows_height_in(all_runs))
    runs = layout.fit_page(all_runs, height_in)
    numbers = _numbers(runs)
    figure, panels = layout.panel_grid(2 * len(runs.settings), 2, height_in)
    for index, setting in enumerate(runs.settings):
        total, growth = panels[2 * index : 2 * index + 2]
        shown = tables.select(numbers, dataset=setting.dataset, scaling=setting.scaling)
        _draw_totals(total, runs, shown)
        _draw_growth(growth, runs, shown)
        layout.name_rows(total, runs)
        total.grid(visible=False, axis="y")
        for panel in (total, growth):
            layout.title(panel, setting.title)
    layout.share_limits(runs, panels[::2], "x")
    layout.share_limits(runs, panels[1::2], "y")
    layout.finish(figure, runs, marks.strategy_handles(runs))
    return Drawing(
        title="Training time",
        figure=figure,
        numbers=numbers,
        caption=captions.complete(
            runs,
            "Time spent training, evaluation and start-up apart. "
            "Left: all tasks, which is where the lines on the right end. Right: cumulative over tasks.",
            captions.extremes(runs, "Bars and lines", "whiskers and bands"),
            captions.narrowing(all_runs, runs),
        ),
        alt="Bar chart of the total training time per strategy, beside lines of the cumulative time over tasks.",
    )


def _numbers(runs: Runs) -> pd.DataFrame:
    frame = tables.accuracy_per_task(runs)
    found = spread_over_seeds(frame, [*_KEY, "num_tasks_seen"], "cumulative_training_s")
    found = found.drop(columns=["sd", "ci95"])
    return found.rename(columns={"mean": "mean_s", "low": "lowest_s", "high": "highest_s"})


def _draw_totals(panel: Axes, runs: Runs, shown: pd.DataFrame) -> None:
    styles = strategy_styles(runs.campaign.strategies)
    thickness = _BAR_IN / layout.row_height_in(runs)
    for row, strategy in enumerate(runs.strategies):
        last = tables.select(shown, strategy=strategy).tail(1)
        for mean, low, high in marks.values(last, ["mean_s", "lowest_s", "highest_s"]):
            panel.barh(row, mean, thickness, color=styles[strategy].color)
            panel.errorbar(mean, row, xerr=[[mean - low], [high - mean]], color="#777777", capsize=2, linewidth=1.0)
    panel.set_xlim(left=0)
    panel.set_xlabel("Training time (s)")


def _draw_growth(panel: Axes, runs: Runs, shown: pd.DataFrame) -> None:
    styles = strategy_styles(runs.campaign.strategies)
    for strategy in runs.strategies:
        line = tables.select(shown, strategy=strategy)
        marks.band_line(panel, line, "num_tasks_seen", "s", styles[strategy])
    layout.task_axis(panel, int(shown["num_tasks_seen"].max()), "Tasks trained")
    panel.set_ylim(bottom=0)
    panel.set_ylabel("Cumulative\ntraining time (s)")
