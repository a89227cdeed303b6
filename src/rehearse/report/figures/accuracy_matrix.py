"""Heat maps of the accuracy on each task after each task."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from rehearse.report import captions, layout, tables
from rehearse.report.drawing import Drawing
from rehearse.report.load import Runs
from rehearse.report.statistics import spread_over_seeds
from rehearse.report.style import strategy_styles

_COLUMNS = 3
_MAX_MAPS = 12
_MAX_NUMBERED_TASKS = 10
# Above, one shape per cell makes a file of megabytes.
_MAX_VECTOR_TASKS = 40
_KEY = ["dataset", "scaling", "strategy"]


def draw(all_runs: Runs) -> Drawing:
    """One heat map per setting and strategy."""
    runs = all_runs.narrowed(_MAX_MAPS // len(all_runs.strategies))
    numbers = _numbers(runs)
    names = {label: style.name for label, style in strategy_styles(runs.campaign.strategies).items()}
    maps = [
        (setting, strategy, shown)
        for setting, strategy in itertools.product(runs.settings, runs.strategies)
        if len(shown := tables.select(numbers, dataset=setting.dataset, scaling=setting.scaling, strategy=strategy))
    ]
    num_columns = min(len(runs.strategies) if len(runs.strategies) > 1 else len(maps), _COLUMNS)
    titles = [layout.wrap_title(f"{names[strategy]}\n{setting.title}", num_columns) for setting, strategy, _ in maps]
    figure, panels = layout.panel_grid(len(maps), num_columns, _panel_height_in(titles, num_columns))
    for panel, heading, (_, _, shown) in zip(panels, titles, maps, strict=True):
        mesh = _draw_map(panel, shown)
        layout.title(panel, heading)
    layout.label_left(panels, "After task")
    layout.label_bottom(panels, "Accuracy on task")
    figure.colorbar(
        mesh, ax=panels, label="Top-1 accuracy (%)", shrink=0.8, aspect=8 * figure.get_figheight(), pad=0.02
    )
    layout.finish(figure, runs)
    return Drawing(
        title="Accuracy matrix",
        figure=figure,
        numbers=numbers,
        caption=captions.complete(
            runs,
            "Top-1 accuracy on each task seen (column) after each task (row), in percent: "
            "the diagonal is what was just learnt, and a column that darkens downwards is a task being forgotten.",
            captions.mean(runs),
            captions.narrowing(all_runs, runs),
        ),
        alt="Heat maps, one per strategy: accuracy on each task, in columns, after each task, in rows.",
    )


def _numbers(runs: Runs) -> pd.DataFrame:
    frame = tables.accuracy_matrix(runs)
    frame = frame[frame["on_task"] <= frame["after_task"]]
    frame = frame.assign(percent=100 * frame["accuracy_top1_fraction"])
    found = spread_over_seeds(frame, [*_KEY, "after_task", "on_task"], "percent")
    found = found[found["num_seeds"] > 0]
    return found.drop(columns=["sd", "ci95", "low", "high"]).rename(columns={"mean": "mean_percent"})


def _panel_height_in(titles: list[str], num_columns: int) -> float:
    """So much that maps are about square beside the colour bar and below the highest title."""
    side_in = (layout.figure_width_in(num_columns) - 0.8) / num_columns - 0.4
    num_lines = max(heading.count("\n") + 1 for heading in titles)
    return side_in + 0.14 * num_lines + 0.35


def _draw_map(panel: Axes, shown: pd.DataFrame) -> QuadMesh:
    num_tasks = int(shown["after_task"].max())
    grid = np.full((num_tasks, num_tasks), np.nan)
    grid[shown["after_task"] - 1, shown["on_task"] - 1] = shown["mean_percent"]
    edges = np.arange(num_tasks + 1) + 0.5
    panel.grid(visible=False)
    # Lightest is best, so that forgetting reads as going dark; cividis is even in lightness.
    mesh = panel.pcolormesh(
        edges, edges, grid, cmap="cividis", vmin=0, vmax=100, rasterized=num_tasks > _MAX_VECTOR_TASKS
    )
    if num_tasks <= _MAX_VECTOR_TASKS:
        mesh.set(edgecolor="white", linewidth=0.4)
    panel.invert_yaxis()
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_xticks(layout.task_ticks(num_tasks))
    panel.set_yticks(layout.task_ticks(num_tasks))
    if num_tasks <= _MAX_NUMBERED_TASKS:
        _write_numbers(panel, shown, 6.5 if num_tasks <= 6 else 5.0)
    return mesh


def _write_numbers(panel: Axes, shown: pd.DataFrame, font_pt: float) -> None:
    cividis = matplotlib.colormaps["cividis"]
    for after, on, percent in shown[["after_task", "on_task", "mean_percent"]].itertuples(index=False):
        red, green, blue, _ = cividis(percent / 100)
        is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        panel.text(
            on,
            after,
            f"{percent:.0f}",
            ha="center",
            va="center",
            fontsize=font_pt,
            color="black" if is_light else "white",
        )
