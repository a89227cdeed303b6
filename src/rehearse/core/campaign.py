"""A campaign: one YAML that describes a matrix of cells and the figures drawn from them.

``Campaign.cells()`` is a pure function of the document. Nothing here loads torch, so the
Snakefile, which is parsed again in every remote job, stays light.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, field_validator, model_validator

from rehearse.core import registry
from rehearse.core.cell import Cell, Scaling
from rehearse.core.config import (
    BackboneSection,
    BufferSection,
    CommunicatorSection,
    DatasetSection,
    LoaderSection,
    Model,
    ScenarioSection,
    Slug,
    StrategySection,
    validate,
)
from rehearse.core.document import read_document
from rehearse.core.errors import ConfigError
from rehearse.core.experiment import Experiment, TrainingConfig


class DatasetVariant(Model):
    """A dataset with the scenario, network and training settings it is studied with."""

    dataset: DatasetSection = Field(description="Dataset plug-in and its options.")
    scenario: ScenarioSection | None = Field(default=None, description="Scenario; absent: one task with everything.")
    backbone: BackboneSection = Field(description="Network plug-in and its options.")
    loader: LoaderSection = Field(default=LoaderSection(name="torch"), description="Loader plug-in.")
    training: TrainingConfig = Field(default=TrainingConfig(), description="Epochs, minibatches, optimiser.")


class StrategyVariant(Model):
    """A strategy with its buffer."""

    strategy: StrategySection = Field(description="Strategy plug-in and its options.")
    buffer: BufferSection | None = Field(default=None, description="Rehearsal buffer, for strategies that rehearse.")
    concatenate_tasksets: bool = Field(default=False, description="Task t trains on the union of tasks 1..t.")


class Block(Model):
    """One block of the matrix: every combination of the labels it lists becomes a cell."""

    datasets: tuple[Slug, ...] = Field(min_length=1, description="Labels from `datasets`.")
    strategies: tuple[Slug, ...] = Field(min_length=1, description="Labels from `strategies`.")
    scalings: tuple[Scaling, ...] = Field(min_length=1, description="Nodes × ranks per node, such as n1r2.")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1, description="One run per seed.")


class Campaign(Model):
    """The whole document."""

    name: Slug = Field(description="Names the campaign's folder below results/cells/.")
    description: str = Field(default="", description="What the campaign shows; printed in the report.")
    communicator: CommunicatorSection = Field(
        default=CommunicatorSection(name="horovod"), description="How ranks talk when there are several."
    )
    datasets: dict[Slug, DatasetVariant] = Field(min_length=1, description="Dataset variants by label.")
    strategies: dict[Slug, StrategyVariant] = Field(min_length=1, description="Strategy variants by label.")
    matrix: tuple[Block, ...] = Field(min_length=1, description="Which combinations run.")
    figures: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Figures to draw, by name; absent: all of them."
    )

    @field_validator("figures")
    @classmethod
    def _figures_exist(cls, figures: tuple[str, ...] | None) -> tuple[str, ...] | None:
        valid = registry.figure_names()
        unknown = [name for name in figures or () if name not in valid]
        if unknown:
            raise ValueError(
                "\nfigures: ".join(f"unknown {name!r}{registry.suggestion(name, valid)}" for name in unknown)
            )
        return figures

    @model_validator(mode="after")
    def _matrix_fits(self) -> Self:
        problems = matrix_problems(self.datasets, self.strategies, [block.model_dump() for block in self.matrix])
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def figure_names(self) -> tuple[str, ...]:
        """Figures of this campaign: those it asks for, in its order and once each, or all of them."""
        return tuple(dict.fromkeys(self.figures)) if self.figures is not None else registry.figure_names()

    def cells(self) -> tuple[Cell, ...]:
        """All cells in the order of the matrix."""
        return tuple(self._cell(*key) for block in self.matrix for key in _keys_of(block.model_dump()))

    def _cell(self, dataset: str, strategy: str, scaling: str, seed: int) -> Cell:
        data, fight = self.datasets[dataset], self.strategies[strategy]
        return Cell(
            campaign=self.name,
            dataset=dataset,
            strategy=strategy,
            scaling=scaling,
            experiment=Experiment(
                dataset=data.dataset,
                scenario=data.scenario,
                concatenate_tasksets=fight.concatenate_tasksets,
                backbone=data.backbone,
                strategy=fight.strategy,
                buffer=fight.buffer,
                loader=data.loader,
                communicator=self.communicator,
                training=data.training,
                seed=seed,
            ),
        )


def load_campaign(path: Path) -> Campaign:
    """Read and check a campaign file; plug-in options are checked later, by ``rehearse check``.

    Raises:
        ConfigError: Every problem of the document, with its path in it.
    """
    return validate(Campaign, read_document(path), source=str(path))


def load_workflow_campaign(files: Sequence[Path | str], merged: object) -> tuple[Campaign, Path, Any]:
    """Read the campaign that Snakemake was started with.

    Snakemake merges several files, and ``--config key=value``, into one dictionary; what comes out is
    no file that anyone could check, cite or run again.

    Args:
        files: The configuration files that Snakemake read.
        merged: The dictionary that it made of them.

    Returns:
        The campaign, its file, and the file's content.

    Raises:
        ConfigError: Not exactly one file, or something was merged into it, or a problem of the document.
    """
    if len(files) != 1:
        given = ", ".join(map(str, files)) or "only --config"
        raise ConfigError(f"one file is one campaign, got {given}; give exactly one with --configfile FILE")
    path = Path(files[0])
    document = read_document(path)
    if merged != yaml.safe_load(path.read_text(encoding="utf-8")):
        raise ConfigError(f"{path}: --config key=value would change the campaign unseen; edit a copy of it instead")
    return validate(Campaign, document, source=str(path)), path, document


def matrix_problems(
    datasets: Collection[str], strategies: Collection[str], blocks: Sequence[Mapping[str, Sequence[Any]]]
) -> list[str]:
    """Labels that are not defined, and cells that appear more than once, each as ``path: what is wrong``.

    Args:
        datasets: Labels that the campaign defines.
        strategies: Labels that the campaign defines.
        blocks: The matrix, block by block.
    """
    unknown = [
        f"matrix.{index}.{kind}: unknown label {label!r}{registry.suggestion(str(label), tuple(defined))}"
        for index, block in enumerate(blocks)
        for kind, defined in (("datasets", datasets), ("strategies", strategies))
        for label in block[kind]
        if label not in defined
    ]
    known = [key for block in blocks for key in _keys_of(block) if key[0] in datasets and key[1] in strategies]
    twice = [key for key, count in Counter(known).items() if count > 1]
    return unknown + [f"matrix: cell {'/'.join(key[:3])}/seed-{key[3]} appears more than once" for key in twice]


def _keys_of(block: Mapping[str, Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    return itertools.product(*(block[kind] for kind in ("datasets", "strategies", "scalings", "seeds")))
