"""``rehearse check``: find everything wrong with a campaign before any job starts."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from rehearse.core.campaign import load_campaign


@click.command()
@click.argument("campaign", type=click.Path(path_type=Path), default=Path("config/quickstart.yaml"))
def command(campaign: Path) -> None:
    """Check a CAMPAIGN file, plug-in options included, and list every problem at once."""
    loaded = load_campaign(campaign)
    click.echo(f"{campaign}: {len(loaded.cells())} cells, no problems")
