"""What Snakemake would do, and what it refuses before any job."""

import re

import pytest
import yaml

from support.workflows import QUICKSTART, job_counts


@pytest.fixture
def document():
    return yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))


def refusal(workflow, *arguments, **choices):
    """The lines that tell a user why Snakemake did not start."""
    done = workflow.run("--dry-run", *arguments, **choices)
    assert done.returncode == 1, done.stdout
    assert not (workflow.folder / "results").exists()
    return done.stdout + done.stderr


def test_the_jobs_of_the_default_campaign(workflow):
    text = workflow.dry_run(QUICKSTART)
    counts = job_counts(text)
    num_figures = counts.pop("plot")
    assert num_figures >= 6
    rest = {"stage": 1, "config": 18, "train": 18, "aggregate": 1, "report": 1, "all": 1}
    assert counts == {**rest, "total": 40 + num_figures}


def test_a_campaign_draws_the_figures_that_it_names(workflow, document):
    campaign = workflow.write("campaign.yaml", {**document, "figures": ["forgetting", "accuracy_matrix"]})
    assert job_counts(workflow.dry_run(campaign))["plot"] == 2


def test_a_wrong_key_is_refused_with_its_path(workflow, document):
    document["datasets"]["digits"]["training"]["epoch"] = 3
    campaign = workflow.write("campaign.yaml", document)
    lines = refusal(workflow, "--configfile", campaign)
    assert (
        f"{campaign}: 1 problem\n  datasets.digits.training.epoch: unknown key 'epoch'; did you mean 'epochs'?" in lines
    )
    assert "Traceback" not in lines


def test_a_wrong_option_of_a_plug_in_is_refused_without_a_job(workflow, document):
    document["strategies"]["er"]["buffer"]["num_candidate"] = 3
    campaign = workflow.write("campaign.yaml", document)
    lines = refusal(workflow, "--configfile", campaign)
    assert f"{campaign}: 1 problem\n  strategies.er.buffer.num_candidate: unknown key 'num_candidate'" in lines
    assert "did you mean 'num_candidates'?" in lines


def test_numbers_with_an_exponent_and_no_point_are_numbers(workflow):
    text, number = re.subn(r"\blr: [0-9.]+", "lr: 5e-2", QUICKSTART.read_text("utf-8"))
    assert number == 1
    campaign = workflow.write("campaign.yaml", text)
    assert job_counts(workflow.dry_run(campaign))["train"] == 18


def test_a_second_file_is_refused(workflow, document):
    campaign = workflow.write("campaign.yaml", document)
    lines = refusal(workflow, "--configfile", QUICKSTART, campaign)
    assert f"one file is one campaign, got {QUICKSTART}, {campaign}; give exactly one with --configfile FILE" in lines


def test_a_key_on_the_command_line_is_refused(workflow):
    lines = refusal(workflow, "--configfile", QUICKSTART, "--config", "name=other")
    assert f"{QUICKSTART}: --config key=value would change the campaign unseen; edit a copy of it instead" in lines


def test_a_profile_that_would_be_overruled_is_refused(workflow):
    lines = refusal(workflow, "--configfile", QUICKSTART, profile=("--profile", "profiles/slurm"))
    assert "--profile profiles/slurm would be overruled by profiles/default" in lines
    assert "write --workflow-profile profiles/slurm" in lines


def test_the_linter_is_content(workflow):
    done = workflow.run("--lint", "--configfile", QUICKSTART)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Congratulations" in done.stderr
