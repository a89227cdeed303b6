"""``rehearse schema``: print the JSON schema of campaign files, or their reference page."""

from __future__ import annotations

import rich_click as click

from rehearse.core.records import to_json


@click.command()
@click.option("--markdown", is_flag=True, help="Print the reference page in Markdown instead.")
def command(markdown: bool) -> None:
    """Print the JSON schema of campaign files, with the options of every plug-in.

    The committed copies, config/campaign.schema.json and config/README.md, are written by `make docs`.
    """
    from rehearse.core.reference import reference_page
    from rehearse.core.schema import campaign_schema

    schema = campaign_schema()
    click.echo(reference_page(schema) if markdown else to_json(schema), nl=False)
