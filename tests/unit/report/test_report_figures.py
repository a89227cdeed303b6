import itertools
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.text import Text

from rehearse.core.errors import OutputError, PluginError
from rehearse.core.registry import figure_names
from rehearse.report.drawing import PICTURES, draw, picture, save
from rehearse.report.layout import task_ticks
from rehearse.report.load import load_runs
from rehearse.report.tables import select

VARIANTS = (
    "full", "one_seed", "one_strategy", "twenty_tasks", "one_task", "one_cell", "long_labels", "background", "many",
)  # fmt: skip


def runs_of(made, **choices):
    return load_runs(made.campaign, made.results, **choices)


@pytest.fixture
def drawn_texts(monkeypatch):
    """A function that draws a figure and gives (text, bounding box) of everything written in it."""

    def draw_and_record(figure):
        written = []
        original = Text.draw

        def record(self, renderer, *arguments, **options):
            if self.get_visible() and self.get_text().strip():
                written.append((self.get_text(), Text.get_window_extent(self, renderer)))
            original(self, renderer, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Text, "draw", record)
            FigureCanvasAgg(figure).draw()
        return written

    return draw_and_record


def overlaps(written):
    """Pairs of texts that touch by more than half a pixel."""
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(written, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5
    ]


def cut_off(written, figure):
    """Texts that reach over the edge of the page."""
    page = figure.bbox
    return [
        text
        for text, box in written
        if box.x0 < page.x0 - 0.5 or box.y0 < page.y0 - 0.5 or box.x1 > page.x1 + 0.5 or box.y1 > page.y1 + 0.5
    ]


def legends_over_data(figure):
    """Panels that the figure's legend covers."""
    boxes = [legend.get_window_extent() for legend in figure.legends]
    return [panel.get_title() for panel in figure.axes for box in boxes if box.overlaps(panel.get_window_extent())]


def test_the_checks_find_what_they_look_for(drawn_texts):
    figure = Figure(figsize=(2, 2))
    figure.text(0.5, 0.5, "one")
    figure.text(0.52, 0.5, "two")
    figure.text(0.9, 0.1, "over the edge")
    written = drawn_texts(figure)
    assert overlaps(written) == [("one", "two")]
    assert cut_off(written, figure) == ["over the edge"]
    figure.add_subplot().plot([1, 2], label="line")
    figure.legend(loc="center")
    assert legends_over_data(figure) == [""]


@pytest.mark.parametrize("name", figure_names())
@pytest.mark.parametrize("which", VARIANTS)
def test_every_figure_draws_legibly(variant, drawn_texts, which, name):
    drawing = draw(name, runs_of(variant(which)))
    written = drawn_texts(drawing.figure)
    assert written
    assert overlaps(written) == []
    assert cut_off(written, drawing.figure) == []
    assert legends_over_data(drawing.figure) == []
    assert drawing.figure.get_figwidth() in (3.5, 7.0)
    assert drawing.figure.get_figheight() < 11
    assert drawing.title
    assert drawing.alt
    assert drawing.caption.endswith(".")
    assert isinstance(drawing.numbers, pd.DataFrame)


@pytest.mark.parametrize("name", figure_names())
def test_axes_say_what_they_show_with_units(variant, name):
    figure = draw(name, runs_of(variant("full"))).figure
    labels = {text for panel in figure.axes for text in (panel.get_xlabel(), panel.get_ylabel()) if text}
    units = ("(%)", "(s)", "(ms)", "(points)")
    counted = {"Tasks seen", "Tasks trained", "After task", "Accuracy on task", "Number of ranks"}
    assert labels
    assert all(label.endswith(units) or label in counted for label in labels)
    assert any(label.endswith(units) for label in labels)


@pytest.mark.parametrize("name", figure_names())
def test_drawing_twice_gives_the_same_bytes(variant, name):
    runs = runs_of(variant("background"))
    one, other = draw(name, runs), draw(name, runs)
    for kind in PICTURES:
        assert picture(one, kind) == picture(other, kind), kind


def test_two_processes_give_the_same_bytes(fabricated):
    made = fabricated(strategies=("er",), background=True)
    folder = made.results / "figures" / "paper"
    verb = ["plot", "step_phases", made.path, "--results", made.results]
    contents = []
    for hash_seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", "from rehearse.cli.main import main; main()", *verb],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            timeout=120,
            check=True,
        )
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert set(contents[0]) == {f"step_phases.{kind}" for kind in (*PICTURES, "csv")}
    assert contents[0] == contents[1]


def test_files(variant, tmp_path):
    made = variant("full")
    drawing = draw("accuracy_per_task", runs_of(made))
    paths = save("accuracy_per_task", drawing, tmp_path / "new")
    content = {path.suffix: path.read_bytes() for path in paths}
    assert content[".png"].startswith(b"\x89PNG")
    # Embedded TrueType, as publishers ask for, and no bitmap fonts.
    assert b"/FontFile2" in content[".pdf"]
    assert b"/Type3" not in content[".pdf"]
    assert b"<svg" in content[".svg"]
    pd.testing.assert_frame_equal(pd.read_csv(paths[-1]), drawing.numbers.reset_index(drop=True))


def test_a_folder_that_cannot_be_written(variant, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        save("scaling", draw("scaling", runs_of(variant("one_cell"))), tmp_path / "file")


def test_a_users_matplotlibrc_changes_nothing(variant):
    import matplotlib as mpl

    runs = runs_of(variant("one_cell"))
    expected = picture(draw("accuracy_per_task", runs), "png")
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30}):
        assert picture(draw("accuracy_per_task", runs), "png") == expected


def test_unknown_figure_names_the_nearest(variant):
    with pytest.raises(PluginError, match=r"unknown figure 'forgeting'; did you mean 'forgetting'\?"):
        draw("forgeting", runs_of(variant("one_cell")))


def panel_of(drawing, title):
    return next(panel for panel in drawing.figure.axes if panel.get_title(loc="left") == title)


def test_accuracy_per_task_shows_its_numbers(variant):
    drawing = draw("accuracy_per_task", runs_of(variant("full")))
    shown = select(drawing.numbers, dataset="cifar10", scaling="n1r2", strategy="er")
    line = panel_of(drawing, "cifar10, 2 ranks").lines[2]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(line.get_ydata(), shown["mean_percent"])
    band = panel_of(drawing, "cifar10, 2 ranks").collections[2].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (shown["lowest_percent"].min(), shown["highest_percent"].max())


def test_accuracy_matrix_shows_its_numbers(variant):
    drawing = draw("accuracy_matrix", runs_of(variant("full")))
    panel = panel_of(drawing, "ER\ndigits, 1 rank")
    [mesh] = [found for found in panel.collections if isinstance(found, QuadMesh)]
    shown = select(drawing.numbers, dataset="digits", scaling="n1r1", strategy="er")
    grid = np.ma.filled(mesh.get_array(), np.nan)
    assert np.isnan(grid[np.triu_indices(5, 1)]).all()
    np.testing.assert_allclose(grid[np.tril_indices(5)], shown["mean_percent"])
    assert [text.get_text() for text in panel.texts] == [f"{value:.0f}" for value in shown["mean_percent"]]


def test_cells_are_numbered_up_to_ten_tasks(fabricated):
    made = fabricated(strategies=("er",), num_tasks=10)
    assert len(draw("accuracy_matrix", runs_of(made)).figure.axes[0].texts) == 55


def test_cells_of_more_tasks_are_not_numbered(variant):
    assert all(not panel.texts for panel in draw("accuracy_matrix", runs_of(variant("twenty_tasks"))).figure.axes)


def test_forgetting_shows_every_seed(variant):
    drawing = draw("forgetting", runs_of(variant("full")))
    shown = select(drawing.numbers, dataset="digits", scaling="n1r1", strategy="incremental", metric="forgetting")
    dots = drawing.figure.axes[0].lines[1].get_xdata()
    np.testing.assert_allclose(dots, shown["value_points"].dropna())
    assert len(dots) == 3
    assert shown["mean_points"].dropna().item() == pytest.approx(np.mean(dots))


def test_forgetting_of_one_task_is_undefined(variant):
    drawing = draw("forgetting", runs_of(variant("one_task")))
    assert [text.get_text() for text in drawing.figure.axes[0].texts] == ["undefined for one task"]
    assert drawing.numbers.empty


def test_training_time_ends_at_the_total(variant):
    drawing = draw("training_time", runs_of(variant("full")))
    total, growth = drawing.figure.axes[:2]
    widths = [bar.get_width() for bar in total.patches]
    ends = [line.get_ydata()[-1] for line in growth.lines]
    np.testing.assert_allclose(widths, ends)
    last = select(drawing.numbers, dataset="digits", scaling="n1r1", num_tasks_seen=5)
    np.testing.assert_allclose(widths, last["mean_s"])


def test_phases_stack_to_their_sum(variant):
    drawing = draw("step_phases", runs_of(variant("background")))
    shown = select(drawing.numbers, strategy="er")
    [panel] = drawing.figure.axes
    bars = sorted(bar.get_width() for bar in panel.patches)
    np.testing.assert_allclose(bars, sorted(drawing.numbers["step_mean_ms"]))
    foreground = shown[shown["phase"].isin(["load", "wait", "assemble", "train"])]["step_mean_ms"].sum()
    background = shown[~shown["phase"].isin(["load", "wait", "assemble", "train"])]["step_mean_ms"].sum()
    assert [text.get_text() for text in panel.texts[-2:]] == [f"{foreground:#.3g}", f"{background:#.3g}"]
    assert "in the background" in drawing.caption


def test_background_work_is_not_mentioned_where_there_is_none(variant):
    assert "background" not in draw("step_phases", runs_of(variant("full"))).caption


def test_scaling_shows_its_numbers_and_the_ideal(variant):
    drawing = draw("scaling", runs_of(variant("full")))
    shown = select(drawing.numbers, dataset="digits", strategy="incremental")
    time = drawing.figure.axes[0]
    curves = [np.asarray(line.get_ydata(), float) for line in time.lines if line.get_linestyle() in ("-", ":")]
    first_s = shown["training_mean_s"].iloc[0]
    np.testing.assert_allclose(curves[0], shown["training_mean_s"])
    assert any(np.allclose(curve, [first_s, first_s / 2]) for curve in curves)
    assert "Dotted" not in draw("scaling", runs_of(variant("one_cell"))).caption


def test_captions_count_seeds_and_explain_bands_and_bars(variant):
    several, single = runs_of(variant("full")), runs_of(variant("one_seed"))
    lines = "Lines: mean over 3 seeds; bands: from the lowest to the highest seed."
    assert lines in draw("accuracy_per_task", several).caption
    assert "one seed, so there are no bands" in draw("accuracy_per_task", single).caption
    assert "bars: 95 % confidence interval of the mean, Student's t." in draw("scaling", several).caption
    assert "one seed, of which there is no confidence interval" in draw("scaling", single).caption


def test_a_crowded_campaign_shows_the_largest_scaling_and_says_so(variant):
    drawing = draw("accuracy_matrix", runs_of(variant("many")))
    assert set(drawing.numbers["scaling"]) == {"n8r4"}
    assert "Only the most ranks of each dataset are shown" in drawing.caption


@pytest.mark.parametrize("name", figure_names())
def test_a_partial_figure_says_so(fabricated, drawn_texts, name):
    made = fabricated(seeds=(1, 2))
    made.files(made.campaign.cells()[0]).summary.unlink()
    drawing = draw(name, runs_of(made, partial=True))
    written = drawn_texts(drawing.figure)
    assert "Partial result: 5 of 6 cells" in [text for text, _ in written]
    assert "Partial result: 5 of 6 cells had finished." in drawing.caption
    assert overlaps(written) == []
    assert cut_off(written, drawing.figure) == []


@pytest.mark.parametrize(
    ("num_tasks", "ticks"),
    [
        (1, [1]),
        (10, list(range(1, 11))),
        (12, [1, 2, 4, 6, 8, 10, 12]),
        (20, [1, 5, 10, 15, 20]),
        (156, [1, 50, 100, 150]),
    ],
)
def test_task_ticks_are_few_and_round(num_tasks, ticks):
    assert task_ticks(num_tasks) == ticks
