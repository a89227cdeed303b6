"""Runs the repository's workflow in a folder of its own, so that its results/ is never touched."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "config" / "quickstart.yaml"
SNAKEMAKE = Path(sys.executable).with_name("snakemake")


class Workflow:
    """Snakemake in a folder with its own campaign files."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, name, document):
        """Write a campaign file, from a document or as it stands; returns its path."""
        path = self.folder / name
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
        return path

    def run(self, *arguments, profile=("--workflow-profile", "profiles/default"), timeout_s=280):
        """Start Snakemake as a user does, in the repository's root; returns the completed process."""
        command = [SNAKEMAKE, *profile, "--directory", self.folder, *arguments]
        return subprocess.run(
            list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def dry_run(self, campaign, *arguments, **choices):
        """What would be done, without doing it; fails unless Snakemake succeeds."""
        done = self.run("--dry-run", "--configfile", campaign, *arguments, **choices)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def job_counts(text):
    """Rule → number of jobs, from Snakemake's table; empty where nothing is to be done."""
    table = re.search(r"^job +count\n-+ +-+\n((?:\w+ +\d+\n)+)", text, re.MULTILINE)
    rows = table[1].split("\n")[:-1] if table else []
    return {name: int(count) for name, count in map(str.split, rows)}


def resources_of_cells(text):
    """Resources of each training job in a dry run's text, by cell; numbers as numbers."""
    found = {}
    for block in text.split("\nrule train:\n")[1:]:
        output = re.search(r"output: results/cells/(\S+)/summary\.json", block)
        line = re.search(r"resources: (.*)", block)
        pairs = (pair.partition("=") for pair in re.split(r", (?=\w+=)", line[1]))
        found[output[1]] = {key: int(value) if value.isdecimal() else value for key, _, value in pairs}
    return found
