"""Staged datasets: where they lie, what their manifest says, and how they are opened."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from rehearse.core import registry
from rehearse.core.catalogue import entry
from rehearse.core.config import DatasetSection, Model, plugin_config
from rehearse.core.errors import DataError
from rehearse.core.problems import explain
from rehearse.core.protocols import Dataset

MANIFEST = "MANIFEST.json"
CLASSES = "classes.json"
"""Names of the classes, by label; every staged dataset has this file."""


class StagedFile(Model):
    """A file of a staged dataset."""

    path: str = Field(description="Below the staged folder.")
    num_bytes: int
    sha256: str


class StagedTree(Model):
    """A folder of many files; its checksum is that of the sorted lines ``<sha256>  <path>``."""

    path: str = Field(description="Below the staged folder; a link where the data is used in place.")
    num_files: int
    num_bytes: int
    sha256: str


class Manifest(Model):
    """``MANIFEST.json``: written last, so a folder that has one is complete."""

    format: Literal[1] = Field(default=1, description="Changes when staged files are laid out in another way.")
    name: str
    version: str
    source: str = Field(description="Addresses, or kind and name of what the user had.")
    verified: bool = Field(description="Whether an official or given checksum covered the whole source.")
    licence: str
    num_classes: int
    num_train: int
    num_test: int
    staged_at: str = Field(description="UTC, ISO 8601.")
    tool: str = Field(description="Version of this package that staged the data.")
    files: tuple[StagedFile, ...]
    trees: tuple[StagedTree, ...]


def staged_folder(section: DatasetSection, dataset_dir: Path) -> Path:
    """Folder of a staged dataset: ``<dataset_dir>/<name>/<version>``; imports no plug-in, as the Snakefile asks."""
    return dataset_dir / section.name / entry(section.name).version_of(section.options)


def stage_command(section: DatasetSection, dataset_dir: Path) -> str:
    """The command that stages a dataset, ready to be pasted."""
    words = ["rehearse", "stage", section.name, "--dataset-dir", str(dataset_dir)]
    for key, value in section.options.items():
        words += ["--option", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(words)


def read_manifest(section: DatasetSection, dataset_dir: Path) -> Manifest:
    """The manifest of a staged dataset whose files are all there with their sizes.

    Checksums are not computed again: that is ``rehearse stage --verify``.

    Raises:
        DataError: Not staged, staged by another version of this package, or damaged; says how to go on.
    """
    folder = staged_folder(section, dataset_dir)
    again = f"run: {stage_command(section, dataset_dir)}"
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"dataset {section.name!r} is not staged in {folder}; {again}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problem = explain(Manifest, error)[0]
        raise DataError(f"{path}: damaged, or of another version ({problem}); delete {folder} and {again}") from None
    damage = _damage(folder, manifest)
    if damage is not None:
        raise DataError(f"{damage}; dataset {section.name!r} is damaged: delete {folder} and {again}")
    return manifest


def open_dataset(section: DatasetSection, dataset_dir: Path) -> Dataset:
    """Open a staged dataset.

    Raises:
        DataError: Not staged or damaged; names the command that stages it.
        ConfigError: Options that the plug-in refuses.
    """
    config = plugin_config(section)
    read_manifest(section, dataset_dir)
    plugin: type[Dataset] = registry.get(section.room, section.name)
    return plugin(config, staged_folder(section, dataset_dir))


def _damage(folder: Path, manifest: Manifest) -> str | None:
    for file in manifest.files:
        path = folder / file.path
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != file.num_bytes:
            return f"{path} has {path.stat().st_size} bytes instead of {file.num_bytes}"
    for tree in manifest.trees:
        path = folder / tree.path
        if not path.is_dir():
            moved = f" (it was a link to {path.readlink()})" if path.is_symlink() else ""
            return f"{path} is missing{moved}"
    return None
