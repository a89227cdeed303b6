"""``rehearse doctor``: is everything here that a campaign needs, and how to get what is not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.table import Column, Table

from rehearse.cli import _doctor_checks, _doctor_ranks
from rehearse.cli._doctor_checks import Finding
from rehearse.core.errors import MissingDependencyError

_STYLES = {"ok": "green", "missing": "bold red", "optional": "yellow"}


@click.command()
@click.option("--quick", is_flag=True, help="Start no ranks: skip what takes seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of findings for machines.")
@click.pass_context
def command(context: click.Context, quick: bool, as_json: bool) -> None:
    """Check Python, libraries, launchers, disk and memory, and say how to get what is missing.

    The exit code is 0 when everything required is there, 3 otherwise. Optional parts that are
    absent are listed and change nothing.
    """
    findings = _examine(quick)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        _show(findings)
    if any(finding.status == "missing" for finding in findings):
        context.exit(MissingDependencyError.exit_code)


def _examine(quick: bool) -> list[Finding]:
    console = Console(stderr=True)
    findings: list[Finding] = []
    with console.status("looking at libraries"):
        findings += _doctor_checks.all_checks(Path.cwd())
    if not quick:
        with console.status("starting two ranks with each launcher"):
            findings += _doctor_ranks.all_launches()
    return findings


def _show(findings: list[Finding]) -> None:
    console = Console()
    parts = Column("part", overflow="fold")
    table = Table(parts, "state", "found", title="rehearse doctor", title_justify="left")
    for finding in findings:
        table.add_row(finding.part, f"[{_STYLES[finding.status]}]{finding.status}[/]", finding.found)
    console.print(table)
    # Below the table, where a narrow terminal does not break a command in two.
    for status, heading in (("missing", "To get what is missing:"), ("optional", "Optional parts:")):
        remedies = {finding.part: finding.remedy for finding in findings if finding.status == status}
        if remedies:
            console.print(f"[{_STYLES[status]}]{heading}[/]")
        for part, remedy in remedies.items():
            console.print(f"  {part}: {remedy}", soft_wrap=True, highlight=False, markup=False)
