"""The deep check of a campaign: imports the plug-ins and asks each about its options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rehearse.core.campaign import Block, Campaign, DatasetVariant, StrategyVariant, matrix_problems
from rehearse.core.cell import Cell
from rehearse.core.combinations import check_cell, doubts
from rehearse.core.config import Model, Section, parse, section_kinds, section_problems

# Keys of an experiment that a campaign keeps elsewhere than with its dataset variant.
_OF_THE_STRATEGY = ("strategy", "buffer", "concatenate_tasksets")
_OF_THE_CAMPAIGN = ("communicator",)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a deep check found, each line as ``path: what is wrong``.

    Attributes:
        problems: What would make cells fail.
        doubts: What is possible but surely not meant.
    """

    problems: tuple[str, ...]
    doubts: tuple[str, ...]


def inspect_document(document: object) -> Findings:
    """Check all of a campaign's document, also the parts beside those that are wrong."""
    campaign, problems = parse(Campaign, document)
    if campaign is not None:
        return inspect_campaign(campaign)
    if isinstance(document, dict):
        problems += _matrix_problems(document)
        problems += [line for path, section in _readable_sections(document) for line in section_problems(section, path)]
    return Findings(tuple(dict.fromkeys(problems)), ())


def inspect_campaign(campaign: Campaign) -> Findings:
    """Check the options of every plug-in that the campaign names, and every combination that it runs."""
    problems = [line for path, section in _sections(campaign) for line in section_problems(section, path)]
    if problems:
        return Findings(tuple(problems), ())
    found: dict[str, None] = {}
    remarks: dict[str, None] = {}
    for cell in _one_per_combination(campaign):
        found.update(dict.fromkeys(_placed(line, cell) for line in check_cell(cell)))
        remarks.update(dict.fromkeys(_placed(line, cell) for line in doubts(cell.experiment)))
    return Findings(tuple(found), tuple(remarks))


def _matrix_problems(document: dict[str, Any]) -> list[str]:
    """Of those blocks that are lists of labels, scalings and seeds as they should be."""
    datasets, strategies, blocks = (document.get(key) for key in ("datasets", "strategies", "matrix"))
    if not isinstance(datasets, dict) or not isinstance(strategies, dict) or not isinstance(blocks, list):
        return []
    empty: dict[str, list[Any]] = {name: [] for name in Block.model_fields}
    readable = [empty if parse(Block, block)[0] is None else block for block in blocks]
    return matrix_problems(datasets, strategies, readable)


def _readable_sections(document: dict[str, Any]) -> Iterator[tuple[str, Section]]:
    """The sections whose names are known, whatever is wrong around them."""
    places: list[tuple[str, object, type[Model]]] = [("", document, Campaign)]
    for kind, variant in (("datasets", DatasetVariant), ("strategies", StrategyVariant)):
        variants = document.get(kind)
        if isinstance(variants, dict):
            places += [(f"{kind}.{label}.", value, variant) for label, value in variants.items()]
    for path, holder, model in places:
        for key, section_kind in section_kinds(model).items():
            section = parse(section_kind, holder.get(key))[0] if isinstance(holder, dict) else None
            if section is not None:
                yield f"{path}{key}", section


def _sections(campaign: Campaign) -> Iterator[tuple[str, Section]]:
    yield "communicator", campaign.communicator
    for label, data in campaign.datasets.items():
        yield from _sections_of(data, f"datasets.{label}")
    for label, fight in campaign.strategies.items():
        yield from _sections_of(fight, f"strategies.{label}")


def _sections_of(variant: Model, path: str) -> Iterator[tuple[str, Section]]:
    for key in type(variant).model_fields:
        value = getattr(variant, key)
        if isinstance(value, Section):
            yield f"{path}.{key}", value


def _one_per_combination(campaign: Campaign) -> Iterator[Cell]:
    """One cell of each (dataset, strategy, scaling): seeds make no difference."""
    seen = set()
    for cell in campaign.cells():
        combination = (cell.dataset, cell.strategy, cell.scaling)
        if combination not in seen:
            seen.add(combination)
            yield cell


def _placed(line: str, cell: Cell) -> str:
    """A line about an experiment, with the path that its key has in the campaign."""
    key = line.partition(":")[0].partition(".")[0]
    if key in _OF_THE_CAMPAIGN:
        return line
    if key in _OF_THE_STRATEGY:
        return f"strategies.{cell.strategy}.{line}"
    return f"datasets.{cell.dataset}.{line}"
