"""Training time and final accuracy against the number of ranks."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from rehearse.report import captions, layout, marks, tables
from rehearse.report.drawing import Drawing
from rehearse.report.load import Runs
from rehearse.report.statistics import spread_over_seeds
from rehearse.report.style import MUTED, strategy_styles

_KEY = ["dataset", "strategy", "scaling", "num_ranks"]


def draw(runs: Runs) -> Drawing:
    """One row of panels per dataset: training time on the left, final average accuracy on the right."""
    numbers = _numbers(runs)
    figure, panels = layout.panel_grid(2 * len(runs.datasets), 2, 2.0)
    for index, dataset in enumerate(runs.datasets):
        shown = tables.select(numbers, dataset=dataset).sort_values("num_ranks", kind="stable")
        time, accuracy = panels[2 * index : 2 * index + 2]
        _draw_time(time, runs, shown)
        _draw_accuracy(accuracy, runs, shown)
        for panel in (time, accuracy):
            _rank_axis(panel, sorted(set(shown["num_ranks"])))
            layout.title(panel, dataset)
    ideal = [Line2D([], [], color=MUTED, linestyle=":", linewidth=0.8, label="ideal (time ∝ 1/ranks)")]
    layout.finish(figure, runs, [*marks.strategy_handles(runs), *(ideal if _has_ideal(numbers) else [])])
    return Drawing(
        title="Scaling",
        figure=figure,
        numbers=numbers,
        caption=captions.complete(
            runs,
            "Training time, evaluation apart (left, logarithmic), and top-1 accuracy averaged over all tasks after the "
            "last one (right) against the number of ranks.",
            "Dotted: ideal scaling from the fewest ranks of each strategy." if _has_ideal(numbers) else "",
            captions.interval(runs, "Markers", "bars"),
            "Strategies are moved apart sideways where they would overlap.",
        ),
        alt="Line charts: training time and final average accuracy against the number of ranks, one line per strategy.",
    )


def _numbers(runs: Runs) -> pd.DataFrame:
    frame = tables.cells(runs)
    frame["faa_percent"] = 100 * frame["faa_fraction"]
    time = spread_over_seeds(frame, _KEY, "training_s").drop(columns=["sd", "low", "high"])
    accuracy = spread_over_seeds(frame, _KEY, "faa_percent").drop(columns=["sd", "low", "high", "num_seeds"])
    time = time.rename(columns={"mean": "training_mean_s", "ci95": "training_ci95_s"})
    return time.merge(accuracy.rename(columns={"mean": "faa_mean_percent", "ci95": "faa_ci95_percent"}), on=_KEY)


def _has_ideal(numbers: pd.DataFrame) -> bool:
    return bool((numbers.groupby(["dataset", "strategy"])["num_ranks"].nunique() > 1).any())


def _draw_time(panel: Axes, runs: Runs, shown: pd.DataFrame) -> None:
    _draw_lines(panel, runs, shown, "training_mean_s", "training_ci95_s")
    styles = strategy_styles(runs.campaign.strategies)
    bounds = [shown["training_mean_s"] + sign * shown["training_ci95_s"].fillna(0) for sign in (-1, 0, 1)]
    for strategy in runs.strategies:
        line = tables.select(shown, strategy=strategy)
        if line["num_ranks"].nunique() > 1:
            first = line.iloc[0]
            ideal_s = first["training_mean_s"] * first["num_ranks"] / line["num_ranks"]
            panel.plot(_beside(line, strategy, runs), ideal_s, ":", color=styles[strategy].color, linewidth=0.8)
            bounds.append(ideal_s)
    panel.set_yscale("log")
    shown_s = pd.concat(bounds)
    # An interval may reach below zero, which a logarithmic axis cannot show.
    ticks = _steps(shown_s[shown_s > 0].min(), shown_s.max())
    panel.set_ylim(ticks[0], ticks[-1])
    panel.yaxis.set_major_locator(FixedLocator(ticks))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_ylabel("Training time (s)")


def _draw_accuracy(panel: Axes, runs: Runs, shown: pd.DataFrame) -> None:
    _draw_lines(panel, runs, shown, "faa_mean_percent", "faa_ci95_percent")
    panel.set_ylim(-2, 104)
    panel.set_yticks(range(0, 101, 20))
    panel.set_ylabel("Final average\naccuracy (%)")


def _draw_lines(panel: Axes, runs: Runs, shown: pd.DataFrame, mean: str, ci95: str) -> None:
    styles = strategy_styles(runs.campaign.strategies)
    for strategy in runs.strategies:
        line, style = tables.select(shown, strategy=strategy), styles[strategy]
        panel.errorbar(
            _beside(line, strategy, runs),
            line[mean],
            line[ci95],
            color=style.color,
            marker=style.marker,
            linestyle=style.line,
            capsize=2,
            elinewidth=0.9,
        )


def _beside(line: pd.DataFrame, strategy: str, runs: Runs) -> pd.Series[float]:
    """Numbers of ranks, moved apart a little so that strategies do not hide each other's intervals."""
    step = min(0.06, 0.25 / len(runs.strategies))
    shift = step * (runs.strategies.index(strategy) - (len(runs.strategies) - 1) / 2)
    return line["num_ranks"].astype(float).mul(2.0**shift)


def _rank_axis(panel: Axes, ranks: list[int]) -> None:
    """Ranks are doubled from one scaling to the next, so they are spaced evenly by their logarithm."""
    panel.set_xscale("log", base=2)
    panel.set_xlim(ranks[0] / 1.25, ranks[-1] * 1.25)
    panel.xaxis.set_major_locator(FixedLocator(ranks))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_xlabel("Number of ranks")


def _steps(low: float, high: float) -> list[float]:
    """Numbers 1, 2, 5, 10, … (any power of ten), the first at or below ``low``, the last at or above ``high``."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    first = max(index for index, step in enumerate(steps) if step <= low)
    last = min(index for index, step in enumerate(steps) if step >= high)
    return steps[first : max(last, first + 1) + 1]
