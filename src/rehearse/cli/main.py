"""Entry point ``rehearse``: finds the verbs, turns expected errors into one line and an exit code."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import rich_click as click

from rehearse import __version__
from rehearse.core.errors import RehearseError
from rehearse.core.failure import describe_failure


class Verbs(click.RichGroup):
    """Loads ``rehearse/cli/<verb>.py`` when the verb is used; ``command`` in it is the verb."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        modules = pkgutil.iter_modules([str(Path(__file__).parent)])
        return sorted(m.name for m in modules if m.name != "main" and not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"rehearse.cli.{cmd_name}").command
        # Each file calls its function `command`, which is not what the help should say.
        command.name = cmd_name
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rehearse")
def cli() -> None:
    """Data-parallel continual learning with distributed rehearsal buffers."""


def main() -> None:
    """Run the command line; exit codes are listed in docs/reference/exit-codes.md."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        # Click turns every interrupt into an Abort; what it was is its context.
        text, code = describe_failure(error.__context__ or KeyboardInterrupt())
        click.echo(f"rehearse: {text}", err=True)
        sys.exit(code)
    except RehearseError as error:
        click.echo(f"rehearse: error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
