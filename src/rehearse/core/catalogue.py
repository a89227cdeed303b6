"""What is known of each dataset by name: version, official files, their checksums and licence.

The facts are data, in ``rehearse/datasets/catalogue.csv``: one row per official file, or one row
without a file for data that comes with a library or that only its owners hand out.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from rehearse.core.errors import PluginError


@dataclass(frozen=True, slots=True)
class Archive:
    """An official file of a dataset.

    Attributes:
        file: Its name, by which it is recognised in a folder.
        urls: Addresses, tried in order.
        sha256: Checksum in hexadecimal; empty where the authors and their readers only publish md5.
        md5: Checksum in hexadecimal; empty where sha256 is known.
        num_bytes: Its size.
    """

    file: str
    urls: tuple[str, ...]
    sha256: str
    md5: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A dataset in the catalogue.

    Attributes:
        name: Registered name of the plug-in.
        version: Path segment; ``{option}`` stands for an option of the plug-in.
        address: Where people read about the data and its terms.
        licence: Terms of use, in short.
        archives: Official files; empty where nothing can be downloaded.
        sha256: Checksum of content that comes without a file; empty otherwise.
    """

    name: str
    version: str
    address: str
    licence: str
    archives: tuple[Archive, ...]
    sha256: str

    @property
    def num_bytes(self) -> int:
        """Size of all official files."""
        return sum(archive.num_bytes for archive in self.archives)

    def version_of(self, options: Mapping[str, Any]) -> str:
        """The version with the plug-in's options filled in; one that is left out reads ``default``."""
        return self.version.format_map(defaultdict(lambda: "default", options))


def entry(name: str) -> Entry:
    """The catalogue's entry of a dataset.

    Raises:
        PluginError: The dataset's plug-in has no row in the catalogue.
    """
    try:
        return catalogue()[name]
    except KeyError:
        raise PluginError(f"dataset {name!r} has no row in rehearse/datasets/catalogue.csv") from None


@cache
def catalogue() -> dict[str, Entry]:
    """All entries by name, in the order of the file."""
    text = (resources.files("rehearse") / "datasets" / "catalogue.csv").read_text(encoding="utf-8")
    rows: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(text.splitlines()):
        rows.setdefault(row["name"], []).append(row)
    return {name: _entry(name, group) for name, group in rows.items()}


def _entry(name: str, rows: list[dict[str, str]]) -> Entry:
    first = rows[0]
    return Entry(
        name=name,
        version=first["version"],
        address=first["address"],
        licence=first["licence"],
        archives=tuple(_archive(row) for row in rows if row["file"]),
        sha256="" if first["file"] else first["sha256"],
    )


def _archive(row: dict[str, str]) -> Archive:
    return Archive(
        file=row["file"],
        urls=tuple(row["url"].split()),
        sha256=row["sha256"],
        md5=row["md5"],
        num_bytes=int(row["bytes"]),
    )
