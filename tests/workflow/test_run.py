"""The workflow for real, on a campaign of two small cells."""

import copy
import json

import pytest

from support.workflows import Workflow, job_counts

# One worker makes what all tests of this file share.
pytestmark = pytest.mark.xdist_group("workflow run")

CAMPAIGN = {
    "name": "small",
    "datasets": {
        "digits": {
            "dataset": {"name": "digits"},
            "scenario": {"name": "class", "initial_increment": 5, "increment": 5},
            "backbone": {"name": "mnistnet"},
            "training": {"epochs": 1, "warmup_epochs": 0, "batch_size": 16, "limit_batches": 3},
        }
    },
    "strategies": {
        "incremental": {"strategy": {"name": "vanilla"}},
        "er": {"strategy": {"name": "er"}, "buffer": {"name": "neomem", "budget": 40}},
    },
    "matrix": [
        {"datasets": ["digits"], "strategies": ["incremental"], "scalings": ["n1r1"], "seeds": [1]},
        {"datasets": ["digits"], "strategies": ["er"], "scalings": ["n1r2"], "seeds": [1]},
    ],
    "figures": ["accuracy_per_task"],
}
INCREMENTAL = "digits/incremental/n1r1/seed-1"
ER = "digits/er/n1r2/seed-1"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder in which the campaign was run, its file, and what the run said."""
    workflow = Workflow(tmp_path_factory.mktemp("run"))
    campaign = workflow.write("campaign.yaml", CAMPAIGN)
    done = workflow.run("--configfile", campaign)
    logs = "\n".join(path.read_text("utf-8") for path in workflow.folder.glob("results/**/*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return workflow, campaign, done


@pytest.mark.slow
def test_a_run_leaves_cells_tables_figures_and_a_report(made):
    results = made[0].folder / "results"
    for cell in (INCREMENTAL, ER):
        folder = results / "cells" / "small" / cell
        assert {path.name for path in folder.iterdir()} >= {
            "config.json",
            "summary.json",
            "events.jsonl",
            "accuracy_matrix.csv",
            "provenance.json",
            "train.1.log",
            "train.log",
        }
        assert "done: final average accuracy" in (folder / "train.log").read_text("utf-8")
    figures = results / "figures" / "small"
    assert {path.name for path in figures.glob("*.*")} >= {
        f"accuracy_per_task.{end}" for end in ("pdf", "png", "svg", "csv")
    }
    assert (results / "tables" / "small" / "summary.csv").exists()
    assert (results / "report.html").read_bytes() == (results / "reports" / "small.html").read_bytes()


@pytest.mark.slow
def test_a_run_tells_its_progress_and_names_what_it_made(made):
    said = made[2].stderr
    assert "0 of 2 cells done, 2 to train, 1 figures to draw" in said
    for cell in (INCREMENTAL, ER):
        assert f"{cell}: started\n" in said
        assert f"] {cell}: accuracy " in said
    assert "[2/2]" in said
    assert "figure accuracy_per_task: drawing" in said
    assert said.rstrip().endswith(
        "campaign small, 2 cells:\n  results/figures/small/accuracy_per_task.pdf\n  results/report.html"
    )


@pytest.mark.slow
def test_each_rank_computes_with_the_threads_of_its_share(made):
    """Snakemake gives the threads of the whole job to MKL's variable, which torch obeys before OpenMP's."""
    provenance = json.loads((made[0].folder / "results/cells/small" / ER / "provenance.json").read_text("utf-8"))
    assert [rank["num_threads"] for rank in provenance["ranks"]] == [1, 1]


@pytest.mark.slow
def test_a_finished_campaign_has_nothing_to_do(made):
    workflow, campaign, _ = made
    assert job_counts(workflow.dry_run(campaign)) == {}


@pytest.mark.slow
def test_new_words_in_a_campaign_train_nothing(made):
    workflow, campaign, _ = made
    workflow.write(campaign.name, {**CAMPAIGN, "description": "other words"})
    counts = job_counts(workflow.dry_run(campaign))
    assert counts == {"aggregate": 1, "plot": 1, "report": 1, "all": 1, "total": 4}


@pytest.mark.slow
def test_a_changed_seed_reruns_that_cell_and_the_figures(made):
    workflow, campaign, _ = made
    blocks = [CAMPAIGN["matrix"][0], {**CAMPAIGN["matrix"][1], "seeds": [2]}]
    workflow.write(campaign.name, {**CAMPAIGN, "matrix": blocks})
    text = workflow.dry_run(campaign)
    assert job_counts(text) == {
        "config": 1, "train": 1, "aggregate": 1, "plot": 1, "report": 1, "all": 1, "total": 6,
    }  # fmt: skip
    assert "results/cells/small/digits/er/n1r2/seed-2/summary.json" in text


@pytest.mark.slow
def test_a_changed_option_reruns_the_cells_that_have_it(made):
    workflow, campaign, _ = made
    er = {**CAMPAIGN["strategies"]["er"], "buffer": {"name": "neomem", "budget": 41}}
    workflow.write(campaign.name, {**CAMPAIGN, "strategies": {**CAMPAIGN["strategies"], "er": er}})
    counts = job_counts(workflow.dry_run(campaign))
    assert (counts["config"], counts["train"]) == (1, 1)


@pytest.fixture
def one_cell():
    """A campaign of one cell, to be spoilt."""
    return copy.deepcopy({**CAMPAIGN, "matrix": [CAMPAIGN["matrix"][0]]})


def test_an_impossible_combination_stops_before_any_job(workflow, one_cell):
    one_cell["strategies"]["incremental"]["buffer"] = {"name": "neomem", "budget": 40}
    done = workflow.run("--configfile", workflow.write("campaign.yaml", one_cell))
    assert done.returncode == 1
    assert "strategies.incremental.buffer: vanilla does not rehearse; leave the buffer out" in done.stderr
    assert not (workflow.folder / "results" / "cells").exists()


@pytest.mark.slow
def test_a_failed_cell_keeps_its_records_and_the_log_of_each_attempt(workflow, one_cell):
    one_cell["datasets"]["digits"]["training"]["lr"] = 1e30
    done = workflow.run("--retries", "1", "--configfile", workflow.write("campaign.yaml", one_cell))
    assert done.returncode == 1
    folder = workflow.folder / "results" / "cells" / "small" / INCREMENTAL
    assert {path.name for path in folder.glob("train.*.log")} == {"train.1.log", "train.2.log"}
    assert (folder / "train.log").readlink().name == "train.2.log"
    assert '"kind":"error"' in (folder / "events.jsonl").read_text("utf-8")
    assert not (folder / "summary.json").exists()
    assert f"End of results/cells/small/{INCREMENTAL}/train.log:\n" in done.stderr
    assert "the loss is nan" in done.stderr
    assert "Error in rule train" in done.stderr
    assert f"0 of 1 cells done, 1 failed:\n  {INCREMENTAL}\n" in done.stderr
