import csv
import io
import math

import pandas as pd
import pytest

from rehearse.core.records import Metrics, read_summary, write_atomically
from rehearse.report import tables
from rehearse.report.load import load_runs

TOP1 = ((0.9, 0.1, None), (0.5, 0.7, 0.2), (0.3, 0.4, 0.8))
# Units that a column may end with; names of things and counts need none.
UNITS = ("_s", "_ms", "_fraction", "_bytes")
WITHOUT_UNIT = {
    "dataset", "strategy", "scaling", "seed", "rank", "class", "phase", "after_task", "on_task",
    "statistic", "value", "parameter_sha256", "directory",
}  # fmt: skip


@pytest.fixture
def small(fabricated):
    """One setting, two seeds, three tasks with known numbers; final accuracies 0.5 and 0.7."""
    made = fabricated(strategies=("er",), num_tasks=3, seeds=(1, 2))
    for cell, faa in zip(made.campaign.cells(), (0.5, 0.7), strict=True):
        files = made.files(cell)
        change = {
            "top1": TOP1,
            "metrics_top1": Metrics(faa=faa, caa=0.6, forgetting=0.45, bwt=-0.45, fwt=None),
            "training_s": (1.0, 2.0, 4.0),
            "num_steps": (10, 20, 30),
        }
        write_atomically(files.summary, read_summary(files.summary).model_copy(update=change).model_dump_json())
    return load_runs(made.campaign, made.results)


def test_cells(small):
    frame = tables.cells(small)
    assert frame["seed"].tolist() == [1, 2]
    first = frame.iloc[0]
    assert (first["training_s"], first["num_steps"], first["faa_fraction"]) == (7.0, 60, 0.5)
    assert math.isnan(first["fwt_fraction"])
    assert first["directory"] == "cells/paper/digits/er/n1r1/seed-1"


def test_summary_by_hand(small):
    [row] = tables.summary(small).to_dict("records")
    assert (row["dataset"], row["strategy"], row["scaling"], row["num_seeds"]) == ("digits", "er", "n1r1", 2)
    assert row["faa_mean_fraction"] == pytest.approx(0.6)
    assert row["faa_sd_fraction"] == pytest.approx(math.sqrt(0.02))
    assert row["faa_ci95_fraction"] == pytest.approx(12.706205 * math.sqrt(0.02) / math.sqrt(2), rel=1e-6)
    assert (row["training_mean_s"], row["training_sd_s"], row["training_num_seeds"]) == (7.0, 0.0, 2)
    assert row["fwt_num_seeds"] == 0


def test_accuracy_per_task_by_hand(small):
    frame = tables.select(tables.accuracy_per_task(small), seed=1)
    assert frame["num_tasks_seen"].tolist() == [1, 2, 3]
    assert frame["accuracy_top1_fraction"].tolist() == pytest.approx([0.9, 0.6, 0.5])
    assert frame["cumulative_training_s"].tolist() == [1.0, 3.0, 7.0]


def test_accuracy_is_undefined_where_a_task_seen_was_not_evaluated():
    assert tables.seen_accuracy(((None, None), (0.4, 0.6)), 0) is None
    assert tables.seen_accuracy(((None, None), (0.4, 0.6)), 1) == pytest.approx(0.5)


def test_accuracy_matrix_by_hand(small):
    frame = tables.select(tables.accuracy_matrix(small), seed=2)
    assert frame[["after_task", "on_task"]].values.tolist() == [[t, i] for t in (1, 2, 3) for i in (1, 2, 3)]
    values = frame["accuracy_top1_fraction"].tolist()
    assert math.isnan(values[2])
    assert [*values[:2], *values[3:]] == [0.9, 0.1, 0.5, 0.7, 0.2, 0.3, 0.4, 0.8]


def test_the_summary_of_a_whole_campaign(variant):
    made = variant("full")
    runs = load_runs(made.campaign, made.results)
    frame = tables.summary(runs)
    assert len(frame) == 2 * 3 * 2
    assert set(frame["num_seeds"]) == {3}
    finals = [run.summary.metrics_top1.faa for run in runs.finished[:3]]
    assert frame.iloc[0]["faa_mean_fraction"] == pytest.approx(sum(finals) / 3)


def test_buffers_of_strategies_that_rehearse(variant):
    made = variant("full")
    runs = load_runs(made.campaign, made.results)
    assert set(tables.buffer(runs)["strategy"]) == {"er"}
    fill = tables.select(tables.buffer_fill(runs), dataset="digits", scaling="n1r2", seed=1)
    assert fill[["rank", "class", "num_representatives"]].values.tolist() == [
        [0, "0", 43], [0, "1", 43], [1, "0", 43], [1, "1", 43],
    ]  # fmt: skip


def test_tables_without_rows_keep_their_header(fabricated):
    made = fabricated(strategies=("incremental",))
    runs = load_runs(made.campaign, made.results)
    assert tables.csv_text(tables.buffer(runs)) == "dataset,strategy,scaling,num_ranks,seed,statistic,value\n"


def test_every_column_carries_its_unit(variant):
    made = variant("full")
    runs = load_runs(made.campaign, made.results)
    for name, build in tables.TABLES.items():
        for column in build(runs).columns:
            counts = column.startswith("num_") or column.endswith("_num_seeds")
            assert counts or column in WITHOUT_UNIT or column.endswith(UNITS), f"{name}.csv: {column}"


def test_files_hold_the_tables_and_are_written_alike_twice(variant, tmp_path):
    made = variant("full")
    runs = load_runs(made.campaign, made.results)
    paths = tables.write_tables(runs, tmp_path / "one")
    assert [path.stem for path in paths] == list(tables.TABLES)
    pd.testing.assert_frame_equal(pd.read_csv(paths[0]), tables.summary(runs), check_dtype=False)
    again = tables.write_tables(runs, tmp_path / "two")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_csv_shows_no_noise_of_binary_fractions():
    text = tables.csv_text(pd.DataFrame({"a": [0.1 + 0.2, math.nan]}))
    assert list(csv.reader(io.StringIO(text))) == [["a"], ["0.3"], [""]]
