"""``rehearse check``: find everything wrong with a campaign before any job starts."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from rehearse.core.campaign import Campaign
from rehearse.core.config import validate
from rehearse.core.document import read_document
from rehearse.core.errors import ConfigError
from rehearse.core.inspection import inspect_document
from rehearse.core.problems import problem_list


@click.command()
@click.argument("campaign", type=click.Path(path_type=Path), default=Path("config/quickstart.yaml"))
def command(campaign: Path) -> None:
    """Check a CAMPAIGN file, plug-in options included, and list every problem at once."""
    document = read_document(campaign)
    findings = inspect_document(document)
    for line in findings.doubts:
        click.echo(f"rehearse: warning: {campaign}: {line}", err=True)
    if findings.problems:
        raise ConfigError(problem_list(str(campaign), findings.problems))
    loaded = validate(Campaign, document, source=str(campaign))
    num_cells, num_figures = len(loaded.cells()), len(loaded.figure_names())
    click.echo(f"{campaign}: {num_cells} cells, {num_figures} figures, no problems")
