"""Panels, rows, legends and notes, placed so that nothing overlaps whatever the labels and their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.legend import Legend

from rehearse.report.load import Runs
from rehearse.report.style import DOUBLE_IN, FONT_PT, MUTED, SINGLE_IN, SMALL_PT, strategy_styles, wrap

_LINE_IN = 0.15
_PAGE_HEIGHT_IN = 9.3
_NAME_WIDTH_IN = 1.4
_MIN_ROWS = 3


def panel_grid(num_panels: int, num_columns: int, panel_height_in: float) -> tuple[Figure, list[Axes]]:
    """Panels in rows, a column wide if there is one panel and a page wide otherwise; the last row may be short."""
    num_columns = min(num_panels, num_columns)
    num_rows = -(-num_panels // num_columns)
    figure = Figure(figsize=(figure_width_in(num_columns), num_rows * panel_height_in), layout="constrained")
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    panels = [cast(Axes, panel) for panel in grid.flat]
    for surplus in panels[num_panels:]:
        surplus.remove()
    return figure, panels[:num_panels]


def figure_width_in(num_columns: int) -> float:
    """A column of a paper for one panel beside none, a page for more."""
    return SINGLE_IN if num_columns == 1 else DOUBLE_IN


def columns(runs: Runs, most: int) -> int:
    """Columns of panels, so that a row holds one dataset where its scalings fit."""
    widest = max(sum(setting.dataset == dataset for setting in runs.settings) for dataset in runs.datasets)
    return min(widest if widest > 1 else len(runs.settings), most)


def fit_page(runs: Runs, panel_height_in: float, num_columns: int = 1) -> Runs:
    """The runs whose panels fit a page: all of them, or only those at each dataset's largest scaling."""
    return runs.narrowed(max(1, int(_PAGE_HEIGHT_IN // panel_height_in)) * num_columns)


def share_limits(runs: Runs, panels: Sequence[Axes], axis: Literal["x", "y"]) -> None:
    """Give panels of one dataset the same limits, so that scalings can be compared by eye.

    Args:
        runs: What is drawn.
        panels: One for each of the runs' settings, in their order.
        axis: Which limits.
    """
    for dataset in runs.datasets:
        alike = [panel for panel, s in zip(panels, runs.settings, strict=True) if s.dataset == dataset]
        limits = [panel.get_xlim() if axis == "x" else panel.get_ylim() for panel in alike if panel.has_data()]
        if not limits:
            continue
        low, high = min(low for low, _ in limits), max(high for _, high in limits)
        for panel in alike:
            panel.set(**{f"{axis}lim": (low, high)})


def wrap_title(text: str, num_columns: int) -> str:
    """A title wrapped to a panel of a figure with that many columns; line breaks that are given stay."""
    width_in = figure_width_in(num_columns) / num_columns - 0.6
    return "\n".join(wrap(line, width_in, FONT_PT) for line in text.splitlines())


def title(panel: Axes, text: str) -> None:
    """A panel's title, left-aligned and wrapped."""
    panel.set_title(wrap_title(text, _num_columns(panel)), loc="left")


def is_leftmost(panel: Axes) -> bool:
    """Whether the panel is the first of its row."""
    return _spec(panel).is_first_col()


def label_left(panels: Sequence[Axes], text: str) -> None:
    """The same y label on the first panel of each row."""
    for panel in panels:
        if is_leftmost(panel):
            panel.set_ylabel(text)


def label_bottom(panels: Sequence[Axes], text: str) -> None:
    """The same x label on the lowest panel of each column."""
    for panel in panels[len(panels) - _num_columns(panels[0]) :]:
        panel.set_xlabel(text)


def task_ticks(num_tasks: int) -> list[int]:
    """Tasks to name on an axis: all of up to ten, else the first and round numbers."""
    if num_tasks <= 10:
        return list(range(1, num_tasks + 1))
    step = next(step for step in (2, 5, 10, 20, 50, 100, 200, 500, num_tasks) if num_tasks / step <= 6)
    return [1, *range(step, num_tasks + 1, step)]


def task_axis(panel: Axes, num_tasks: int, text: str) -> None:
    """An x axis that counts tasks from 1."""
    panel.set_xlabel(text)
    margin = 0.03 * max(num_tasks - 1, 1) + 0.1
    panel.set_xlim(1 - margin, num_tasks + margin)
    panel.set_xticks(task_ticks(num_tasks))


def row_height_in(runs: Runs) -> float:
    """Height of one strategy's row, so that names of several lines do not touch."""
    return max(0.26, max(0.125 * name.count("\n") for name in _row_names(runs)) + 0.22)


def rows_height_in(runs: Runs) -> float:
    """Height of a panel that gives each strategy a row."""
    return 0.8 + max(_MIN_ROWS, len(runs.strategies)) * row_height_in(runs)


def name_rows(panel: Axes, runs: Runs, *, names: bool = True) -> None:
    """A y axis with one row per strategy, the first on top; the names may be left to the panel beside."""
    shown = _row_names(runs)
    panel.set_yticks(range(len(shown)), shown if names else [""] * len(shown))
    margin = max(0, _MIN_ROWS - len(shown)) / 2 + 0.5
    panel.set_ylim(len(shown) - 1 + margin, -margin)
    panel.tick_params(axis="y", length=0)


def finish(figure: Figure, runs: Runs, handles: Sequence[Artist] = ()) -> None:
    """Put the legend above the panels and say below them if cells are missing; the figure grows by their height."""
    if handles:
        _legend_above(figure, handles)
    if runs.note:
        figure.set_figheight(figure.get_figheight() + _LINE_IN)
        figure.supxlabel(runs.note, x=0.99, ha="right", fontsize=SMALL_PT, style="italic", color=MUTED)


def _legend_above(figure: Figure, handles: Sequence[Artist]) -> None:
    """A legend in as few rows as fit the figure's width, evenly filled."""
    for handle in handles:
        handle.set_label(wrap(str(handle.get_label()), 0.7 * figure.get_figwidth()))
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    for num_rows in range(1, len(handles) + 1):
        num_columns = -(-len(handles) // num_rows)
        legend: Legend = figure.legend(handles=list(handles), loc="outside upper center", ncols=num_columns)
        box = legend.get_window_extent(renderer)
        if box.width <= 0.98 * figure.bbox.width or num_columns == 1:
            figure.set_figheight(figure.get_figheight() + box.height / figure.dpi)
            return
        legend.remove()


def _row_names(runs: Runs) -> list[str]:
    styles = strategy_styles(runs.campaign.strategies)
    return [wrap(styles[label].name, _NAME_WIDTH_IN) for label in runs.strategies]


def _spec(panel: Axes) -> SubplotSpec:
    spec = panel.get_subplotspec()
    assert spec is not None, "panels come from panel_grid"
    return spec


def _num_columns(panel: Axes) -> int:
    return int(_spec(panel).get_gridspec().ncols)
