"""``rehearse aggregate``: a campaign's runs as CSV tables."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from rehearse.core.campaign import load_campaign


@click.command()
@click.argument("campaign", type=click.Path(path_type=Path))
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Where cells/ lies and output goes.",
)
@click.option("--partial", is_flag=True, help="Use the cells that have finished, whatever is missing.")
def command(campaign: Path, results: Path, partial: bool) -> None:
    """Gather the runs of a CAMPAIGN file into CSV tables below RESULTS/tables."""
    # pandas takes a second to load, which no other verb should wait for.
    from rehearse.report.load import load_runs
    from rehearse.report.tables import write_tables

    loaded = load_campaign(campaign)
    runs = load_runs(loaded, results, partial=partial)
    for path in write_tables(runs, results / "tables" / loaded.name):
        click.echo(path)
    if runs.note:
        click.echo(runs.note, err=True)
