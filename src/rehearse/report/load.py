"""Reads a campaign's run directories and says which cells have nothing usable."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rehearse.core.campaign import Campaign
from rehearse.core.cell import Cell, parse_scaling
from rehearse.core.errors import DataError
from rehearse.core.records import RunFiles, Summary, read_summary

_MAX_LISTED = 20


@dataclass(frozen=True, slots=True)
class Run:
    """A finished cell.

    Attributes:
        cell: What the campaign asked for.
        summary: What the run found.
        provenance: Where it comes from, as the run wrote it.
    """

    cell: Cell
    summary: Summary
    provenance: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a figure gives a panel of its own: a dataset at a scaling."""

    dataset: str
    scaling: str

    @property
    def num_ranks(self) -> int:
        nodes, ranks_per_node = parse_scaling(self.scaling)
        return nodes * ranks_per_node

    @property
    def title(self) -> str:
        """The setting in words: ``digits, 2 ranks``."""
        nodes, ranks_per_node = parse_scaling(self.scaling)
        ranks = "1 rank" if ranks_per_node == 1 else f"{ranks_per_node} ranks"
        return f"{self.dataset}, {ranks if nodes == 1 else f'{nodes} nodes × {ranks}'}"


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a campaign, in the order of its matrix.

    Attributes:
        campaign: The campaign they belong to.
        finished: One run per usable cell, at least one.
        unfinished: Why each other cell cannot be used, by cell id.
    """

    campaign: Campaign
    finished: tuple[Run, ...]
    unfinished: dict[str, str] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """What a figure must say about missing cells; empty when all have finished."""
        total = len(self.campaign.cells())
        return f"Partial result: {total - len(self.unfinished)} of {total} cells" if self.unfinished else ""

    @property
    def strategies(self) -> tuple[str, ...]:
        """Labels of the strategies that were run, in the order the campaign defines them."""
        present = {run.cell.strategy for run in self.finished}
        return tuple(label for label in self.campaign.strategies if label in present)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Labels of the datasets that were run, in the order the campaign defines them."""
        present = {run.cell.dataset for run in self.finished}
        return tuple(label for label in self.campaign.datasets if label in present)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Every dataset at every scaling that was run, datasets first, then by number of ranks."""
        present = {Setting(run.cell.dataset, run.cell.scaling) for run in self.finished}
        order = {label: position for position, label in enumerate(self.campaign.datasets)}
        return tuple(sorted(present, key=lambda at: (order[at.dataset], at.num_ranks, parse_scaling(at.scaling))))

    def narrowed(self, most: int) -> Runs:
        """These runs, or of more than ``most`` settings only those at each dataset's largest scaling."""
        if len(self.settings) <= most:
            return self
        largest = {setting.dataset: setting.scaling for setting in self.settings}
        kept = tuple(run for run in self.finished if largest[run.cell.dataset] == run.cell.scaling)
        return replace(self, finished=kept)

    @property
    def seed_counts(self) -> tuple[int, ...]:
        """Number of seeds of each (dataset, strategy, scaling), each count once, ascending."""
        groups: dict[tuple[str, str, str], int] = {}
        for run in self.finished:
            key = (run.cell.dataset, run.cell.strategy, run.cell.scaling)
            groups[key] = groups.get(key, 0) + 1
        return tuple(sorted(set(groups.values())))


def load_runs(campaign: Campaign, results: Path, *, partial: bool = False) -> Runs:
    """Read the run directory of every cell.

    Args:
        campaign: Whose cells to read.
        results: The results directory, above ``cells/``.
        partial: Leave out cells without a usable result instead of refusing.

    Raises:
        DataError: Cells have not finished, are damaged, or ran with another configuration than the
            campaign now asks for; lists them. With ``partial``, only if no cell is left.
    """
    finished: list[Run] = []
    unfinished: dict[str, str] = {}
    for cell in campaign.cells():
        try:
            finished.append(_read_run(cell, results))
        except DataError as error:
            unfinished[cell.id] = "; ".join(line.strip() for line in str(error).splitlines())
    if unfinished and (not partial or not finished):
        raise DataError(_unfinished_message(campaign, unfinished, len(finished)))
    return Runs(campaign, tuple(finished), unfinished)


def _read_run(cell: Cell, results: Path) -> Run:
    files = RunFiles(cell.directory(results))
    summary = read_summary(files.summary)
    if summary.cell.canonical_json() != cell.canonical_json():
        raise DataError(f"{files.summary}: ran with another configuration than the campaign asks for; run it again")
    return Run(cell, summary, _read_provenance(files.provenance))


def _read_provenance(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run the cell again") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged: {error}; run the cell again") from None
    if not isinstance(document, dict):
        raise DataError(f"{path}: damaged: holds no JSON object; run the cell again")
    return document


def _unfinished_message(campaign: Campaign, unfinished: dict[str, str], num_finished: int) -> str:
    lines = [f"campaign {campaign.name}: {len(unfinished)} of {len(unfinished) + num_finished} cells are not usable"]
    lines += [f"  {name}: {reason}" for name, reason in list(unfinished.items())[:_MAX_LISTED]]
    if len(unfinished) > _MAX_LISTED:
        lines.append(f"  … and {len(unfinished) - _MAX_LISTED} more")
    lines.append("run them" + (", or use what is there with --partial" if num_finished else ""))
    return "\n".join(lines)
