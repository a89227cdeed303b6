"""``rehearse stage``: make a dataset available and verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rich_click as click
import yaml
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from rehearse.core import log, protocols
from rehearse.core.catalogue import catalogue
from rehearse.core.config import DatasetSection, validate
from rehearse.core.staging import Manifest, staged_folder
from rehearse.core.world import World
from rehearse.datasets._staging import find_staged, stage_dataset, verify_dataset


@click.command()
@click.argument("name", required=False)
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="Official archive, another archive, or folder that you have; without it, the official files are downloaded.",
)
@click.option(
    "--dataset-dir",
    type=click.Path(path_type=Path),
    default=Path("results/datasets"),
    show_default=True,
    help="Folder of staged datasets.",
)
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the dataset; may be repeated.")
@click.option("--sha256", help="Expected checksum of --source, if that is one file.")
@click.option("--verify", is_flag=True, help="Compute all checksums of a staged dataset again.")
@click.option("--list", "list_all", is_flag=True, help="Print all datasets with size, licence and address.")
def command(
    name: str | None,
    source: Path | None,
    dataset_dir: Path,
    options: tuple[str, ...],
    sha256: str | None,
    verify: bool,
    list_all: bool,
) -> None:
    """Stage the dataset NAME: fetch, check and unpack it; nothing is left behind if that fails."""
    log.configure(World())
    if list_all:
        click.echo(_table())
        return
    if name is None:
        raise click.UsageError("name a dataset, or print all with --list")
    section = validate(DatasetSection, {"name": name, **dict(map(_parse_option, options))}, source="command line")
    before = find_staged(section, dataset_dir)
    with _bars() as progress:
        if verify:
            manifest = verify_dataset(section, dataset_dir, progress)
        else:
            manifest = stage_dataset(section, dataset_dir, source, progress, sha256)
    state = "verified" if verify else "already staged" if before is not None else "staged"
    click.echo(f"{name}: {state} in {staged_folder(section, dataset_dir)}: {_describe(manifest)}")


def _parse_option(text: str) -> tuple[str, object]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--option")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise click.BadParameter(f"{text!r}: the value is not well-formed", param_hint="--option") from None


def _describe(manifest: Manifest) -> str:
    num_bytes = sum(file.num_bytes for file in manifest.files) + sum(tree.num_bytes for tree in manifest.trees)
    checked = "official or given checksum" if manifest.verified else "no official checksum"
    return (
        f"{manifest.num_train} training and {manifest.num_test} test samples, {manifest.num_classes} classes, "
        f"{decimal(num_bytes)}, from {manifest.source} ({checked})"
    )


def _table() -> str:
    """All datasets, one per line, wide enough for whole addresses."""
    rows = [("NAME", "DOWNLOAD", "LICENCE", "ADDRESS")]
    for known in catalogue().values():
        size = decimal(known.num_bytes) if known.archives else "bundled" if known.sha256 else "by hand"
        rows.append((known.name, size, known.licence, known.address))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


@contextmanager
def _bars() -> Iterator[protocols.Progress]:
    """One bar per thing being done, on standard error; none if nothing had to be done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def progress(what: str, done: int, total: int | None) -> None:
        if not tasks:
            bars.start()
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    try:
        yield progress
    finally:
        if tasks:
            bars.stop()
