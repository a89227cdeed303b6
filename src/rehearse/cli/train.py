"""``rehearse train``: train one cell, on this rank."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from rehearse.core import log
from rehearse.core.cell import Cell
from rehearse.core.config import validate
from rehearse.core.document import read_document
from rehearse.core.errors import ConfigError, MissingDependencyError, PluginError
from rehearse.core.records import RunFiles
from rehearse.core.world import World

if TYPE_CHECKING:
    from rehearse.core.protocols import Communicator


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where results go.  [default: the folder of CONFIG]",
)
@click.option(
    "--dataset-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results/datasets"),
    show_default=True,
    help="Where `rehearse stage` put the data.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="How much to tell on standard error.",
)
def command(config: Path, run_dir: Path | None, dataset_dir: Path, log_level: str) -> None:
    """Train the cell that CONFIG (a config.json of the workflow) describes.

    Start it once per rank with mpirun, horovodrun, torchrun or srun; without a launcher it trains
    on one rank. torchrun needs a cell whose communicator is torch. Example:

        mpirun -np 2 rehearse train results/cells/quickstart/digits/er/n1r2/seed-1/config.json --run-dir my-run
    """
    world = World.from_env()
    log.configure(world, log_level)
    try:
        _refuse_finished(RunFiles(run_dir or config.parent))
        cell = validate(Cell, read_document(config), source=str(config))
        from rehearse.training.build import build_communicator

        communicator = build_communicator(cell, world)
    except (ConfigError, PluginError, MissingDependencyError) as error:
        # Every rank finds the same mistake; once is enough.
        if world.is_leader:
            raise
        sys.exit(error.exit_code)
    _train(cell, communicator, run_dir or config.parent, dataset_dir)


def _refuse_finished(files: RunFiles) -> None:
    if files.summary.exists():
        raise ConfigError(
            f"{files.summary} is that of a finished run; choose another folder with --run-dir, or delete it first"
        )


def _train(cell: Cell, communicator: Communicator, run_dir: Path, dataset_dir: Path) -> None:
    from rehearse.core.failure import abort_on_error, stopping_on_sigterm
    from rehearse.training.build import build_run
    from rehearse.training.journal import Journal
    from rehearse.training.loop import Trainer

    with abort_on_error(communicator), stopping_on_sigterm():
        journal = Journal(RunFiles(run_dir), communicator.world.is_leader)
        with journal.recording_errors():
            run = build_run(cell, communicator, dataset_dir)
            try:
                summary = Trainer(run, journal).run()
            finally:
                run.close()
        communicator.barrier()
    communicator.close()
    faa = summary.metrics_top1.faa
    log.logger.info("done: final average accuracy %s", "not evaluated" if faa is None else f"{faa:.1%}")
