"""Where results come from: what all cells share, said once, and what sets each cell apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rehearse.report.load import Runs


@dataclass(frozen=True, slots=True)
class Provenance:
    """Provenance of a campaign's runs, as text by dotted key such as ``versions.torch``.

    Attributes:
        common: What every cell has with the same value.
        cells: The rest of each cell, by cell id.
        document: Everything as JSON, by cell id.
    """

    common: dict[str, str]
    cells: dict[str, dict[str, str]]
    document: str


def gather_provenance(runs: Runs) -> Provenance:
    """Compare the provenance of all finished cells; nothing is assumed about its keys."""
    flat = {run.cell.id: dict(_flatten(run.provenance)) for run in runs.finished}
    first, *others = flat.values()
    common = {key: text for key, text in first.items() if all(other.get(key) == text for other in others)}
    cells = {name: {key: text for key, text in own.items() if key not in common} for name, own in flat.items()}
    document = json.dumps({run.cell.id: run.provenance for run in runs.finished}, indent=2, ensure_ascii=False)
    return Provenance(common, cells, document + "\n")


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of nested mappings and lists; an empty one is a leaf."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    leaf = True
    for key, child in items:
        leaf = False
        yield from _flatten(child, f"{path}.{key}" if path else str(key))
    if leaf:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
