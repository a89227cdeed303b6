"""``rehearse report``: everything about a campaign in one HTML file."""

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
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.  [default: RESULTS/report.html]",
)
@click.option("--partial", is_flag=True, help="Report the cells that have finished; the report says so.")
def command(campaign: Path, results: Path, output: Path | None, partial: bool) -> None:
    """Write figures, tables and provenance of a CAMPAIGN file into one HTML file that opens offline."""
    # matplotlib and pandas take seconds to load, which no other verb should wait for.
    from rehearse.report.html import write_report
    from rehearse.report.load import load_runs

    path = output or results / "report.html"
    write_report(load_runs(load_campaign(campaign), results, partial=partial), path)
    click.echo(path)
