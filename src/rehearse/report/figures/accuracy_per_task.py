"""Accuracy over the tasks seen so far, as training goes from task to task."""

from __future__ import annotations

import pandas as pd

from rehearse.report import captions, layout, marks, tables
from rehearse.report.drawing import Drawing
from rehearse.report.load import Runs
from rehearse.report.statistics import spread_over_seeds
from rehearse.report.style import strategy_styles

_COLUMNS = 3
_PANEL_HEIGHT_IN = 1.9


def draw(all_runs: Runs) -> Drawing:
    """One panel per setting, one line per strategy."""
    runs = layout.fit_page(all_runs, _PANEL_HEIGHT_IN, _COLUMNS)
    numbers = _numbers(runs)
    styles = strategy_styles(runs.campaign.strategies)
    figure, panels = layout.panel_grid(len(runs.settings), layout.columns(runs, _COLUMNS), _PANEL_HEIGHT_IN)
    for panel, setting in zip(panels, runs.settings, strict=True):
        shown = tables.select(numbers, dataset=setting.dataset, scaling=setting.scaling)
        for strategy in runs.strategies:
            line = tables.select(shown, strategy=strategy)
            marks.band_line(panel, line, "num_tasks_seen", "percent", styles[strategy])
        layout.task_axis(panel, int(shown["num_tasks_seen"].max()), "Tasks seen")
        panel.set_ylim(-2, 104)
        panel.set_yticks(range(0, 101, 20))
        layout.title(panel, setting.title)
    layout.label_left(panels, "Top-1 accuracy\non tasks seen (%)")
    layout.finish(figure, runs, marks.strategy_handles(runs))
    return Drawing(
        title="Accuracy per task",
        figure=figure,
        numbers=numbers,
        caption=captions.complete(
            runs,
            "Top-1 accuracy averaged over the tasks seen so far, after each task.",
            captions.extremes(runs, "Lines", "bands"),
            captions.narrowing(all_runs, runs),
        ),
        alt="Line chart: accuracy on the tasks seen so far against the number of tasks seen, one line per strategy.",
    )


def _numbers(runs: Runs) -> pd.DataFrame:
    frame = tables.accuracy_per_task(runs)
    frame["percent"] = 100 * frame["accuracy_top1_fraction"]
    found = spread_over_seeds(frame, ["dataset", "scaling", "strategy", "num_tasks_seen"], "percent")
    found = found[found["num_seeds"] > 0]
    found = found.drop(columns=["sd", "ci95"])
    return found.rename(columns={"mean": "mean_percent", "low": "lowest_percent", "high": "highest_percent"})
