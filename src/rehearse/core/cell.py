"""A cell of a campaign: one (dataset, strategy, scaling, seed), and where its files lie."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from rehearse.core.config import Model, Slug
from rehearse.core.experiment import Experiment

_SCALING = re.compile(r"n([1-9]\d*)r([1-9]\d*)")


def _is_scaling(text: str) -> str:
    if not _SCALING.fullmatch(text):
        raise ValueError(f"expected nodes × ranks per node, such as n4r8, got {text!r}")
    return text


Scaling = Annotated[
    str,
    AfterValidator(_is_scaling),
    Field(description="nodes × ranks per node, such as n4r8", json_schema_extra={"pattern": f"^{_SCALING.pattern}$"}),
]


def parse_scaling(scaling: str) -> tuple[int, int]:
    """``n4r8`` → (4 nodes, 8 ranks per node)."""
    match = _SCALING.fullmatch(scaling)
    if match is None:
        raise ValueError(f"not a scaling: {scaling!r}")
    return int(match[1]), int(match[2])


class Cell(Model):
    """One training run of a campaign; ``config.json`` holds exactly this."""

    campaign: Slug = Field(description="Name of the campaign.")
    dataset: Slug = Field(description="Label of the dataset variant.")
    strategy: Slug = Field(description="Label of the strategy variant.")
    scaling: Scaling
    experiment: Experiment

    @property
    def seed(self) -> int:
        return self.experiment.seed

    @property
    def num_nodes(self) -> int:
        return parse_scaling(self.scaling)[0]

    @property
    def ranks_per_node(self) -> int:
        return parse_scaling(self.scaling)[1]

    @property
    def num_ranks(self) -> int:
        return self.num_nodes * self.ranks_per_node

    @property
    def id(self) -> str:
        """Path of the cell below ``cells/``: ``campaign/dataset/strategy/scaling/seed-n``."""
        return "/".join((self.campaign, self.dataset, self.strategy, self.scaling, f"seed-{self.seed}"))

    def directory(self, results: Path) -> Path:
        """The cell's run directory below ``results``."""
        return results / "cells" / self.id

    def canonical_json(self) -> str:
        """The cell as one line of JSON; equal cells give equal text."""
        return self.model_dump_json()

    @classmethod
    def single(cls, experiment: Experiment, *, scaling: str, campaign: str = "adhoc") -> Self:
        """A cell for a run that belongs to no campaign, labelled by its plug-ins' names."""
        label = experiment.backbone.name.replace(":", "-")
        return cls(
            campaign=campaign,
            dataset=f"{experiment.dataset.name}-{label}",
            strategy=experiment.strategy.name,
            scaling=scaling,
            experiment=experiment,
        )
