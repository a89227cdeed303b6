"""``rehearse check``: find everything wrong with a campaign before any job starts."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from rehearse.core.campaign import load_campaign
from rehearse.core.errors import ConfigError
from rehearse.core.inspection import inspect_campaign
from rehearse.core.problems import problem_list


@click.command()
@click.argument("campaign", type=click.Path(path_type=Path), default=Path("config/quickstart.yaml"))
def command(campaign: Path) -> None:
    """Check a CAMPAIGN file, plug-in options included, and list every problem at once."""
    loaded = load_campaign(campaign)
    findings = inspect_campaign(loaded)
    for line in findings.doubts:
        click.echo(f"rehearse: warning: {campaign}: {line}", err=True)
    if findings.problems:
        raise ConfigError(problem_list(str(campaign), findings.problems))
    num_cells, num_figures = len(loaded.cells()), len(loaded.figure_names())
    click.echo(f"{campaign}: {num_cells} cells, {num_figures} figures, no problems")
