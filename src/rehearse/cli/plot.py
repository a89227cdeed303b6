"""``rehearse plot``: one figure of a campaign, in three formats and with its numbers."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from rehearse.core.campaign import load_campaign
from rehearse.core.registry import figure_names


def _list(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo("\n".join(figure_names()))
        context.exit()


@click.command()
@click.argument("name")
@click.argument("campaign", type=click.Path(path_type=Path))
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Where cells/ lies and output goes.",
)
@click.option("--partial", is_flag=True, help="Draw from the cells that have finished; the figure says so.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="Name all figures.")
def command(name: str, campaign: Path, results: Path, partial: bool) -> None:
    """Draw the figure NAME of a CAMPAIGN file below RESULTS/figures, as PDF, PNG and SVG, with a CSV of its numbers."""
    # matplotlib and pandas take seconds to load, which no other verb should wait for.
    from rehearse.report.drawing import draw, save
    from rehearse.report.load import load_runs

    loaded = load_campaign(campaign)
    drawing = draw(name, load_runs(loaded, results, partial=partial))
    for path in save(name, drawing, results / "figures" / loaded.name):
        click.echo(path)
