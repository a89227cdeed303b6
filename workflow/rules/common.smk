"""The campaign, checked, and what the rules share."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from rehearse.core.campaign import load_workflow_campaign
from rehearse.core.errors import ConfigError
from rehearse.core.staging import MANIFEST, stage_command, staged_folder

# Jobs run in the environment that started Snakemake, whether or not its programs are on the PATH. Setting a
# prefix replaces Snakemake's own, which is the first command here.
ENVIRONMENT = sys.prefix
shell.prefix(f"set -euo pipefail; export PATH={ENVIRONMENT}/bin:$PATH; ")

# Snakemake adds profiles/default to any other --profile, and lets it win, so a cluster's would be undone unseen.
options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
options.add_argument("--profile", default=os.environ.get("SNAKEMAKE_PROFILE", "profiles/default"))
options.add_argument("--workflow-profile")
given = options.parse_known_args()[0]
if workflow.is_main_process and given.workflow_profile is None and Path(given.profile).name != "default":
    raise WorkflowError(
        f"--profile {given.profile} would be overruled by profiles/default; write --workflow-profile {given.profile}"
    )

try:
    CAMPAIGN, CAMPAIGN_FILE, document = load_workflow_campaign(workflow.configfiles, config)
    validate(document, "../../config/campaign.schema.json", set_default=False)
except ConfigError as error:
    raise WorkflowError(str(error)) from None
except WorkflowError:
    # The schema, which needs no plug-in, refuses an option. The plug-ins say it in words, all at once.
    checked = subprocess.run(
        [f"{ENVIRONMENT}/bin/rehearse", "check", CAMPAIGN_FILE], capture_output=True, text=True, check=False
    )
    if checked.returncode == 0:
        raise  # the committed schema is out of date
    raise WorkflowError(checked.stderr.removeprefix("rehearse: error: ").rstrip()) from None

CELLS = {cell.id: cell for cell in CAMPAIGN.cells()}
CELL_ID = "{campaign}/{dataset}/{strategy}/{scaling}/seed-{seed}"
CELL = f"results/cells/{CELL_ID}"
SUMMARIES = [f"results/cells/{cell}/summary.json" for cell in CELLS]
FIGURES = [f"results/figures/{CAMPAIGN.name}/{figure}.pdf" for figure in CAMPAIGN.figure_names()]
DATASET_DIR = Path("results/datasets")


wildcard_constraints:
    campaign=CAMPAIGN.name,
    scaling="n[0-9]+r[0-9]+",
    seed="[0-9]+",


def this_environment(wildcards):
    """The conda environment of every rule: none, a job runs in the environment that started Snakemake."""
    return None


def cell_of(wildcards):
    """The cell that a job is about."""
    return CELLS[CELL_ID.format(**wildcards)]


def threads_of(wildcards):
    """CPU threads of each rank of a cell."""
    return cell_of(wildcards).experiment.training.num_threads


def manifest_of(section):
    """The manifest of a staged dataset."""
    return str(staged_folder(section, DATASET_DIR) / MANIFEST)


def launcher(wildcards, resources):
    """What starts a cell's ranks; one rank needs nothing."""
    num_ranks = cell_of(wildcards).num_ranks
    return f"{resources.mpi} -n {num_ranks}" if num_ranks > 1 else ""
