"""Options that all rehearsal buffers share, and how a global budget is divided exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, Self

from pydantic import Field, model_validator

from rehearse.core.config import Float, PluginConfig

BUILD_ENGINE = "pip install --no-deps --no-build-isolation ./neomem"
"""Builds Neomem in a clone; ``make setup`` does the same."""


class BufferConfig(PluginConfig):
    """Options of every rehearsal buffer; the budget is that of all ranks together."""

    rehearsal_ratio: Float | None = Field(
        default=None, gt=0, le=100, description="Budget in % of the whole training set, over all ranks."
    )
    budget: int | None = Field(default=None, ge=1, description="Budget in slots over all ranks, instead of a ratio.")
    num_representatives: int = Field(default=7, ge=1, description="r: representatives drawn per rank and step.")
    num_candidates: int = Field(default=14, ge=1, description="c: candidates offered per rank and step.")
    policy: Literal["class_quota", "reservoir"] = Field(
        default="class_quota", description="Which samples stay when the shard is full."
    )
    scope: Literal["global", "local"] = Field(
        default="global", description="Draw from all ranks' shards, or from the own one."
    )
    fixed_classes: bool = Field(
        default=False, description="Give each class its final quota at once instead of sharing among classes seen."
    )

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.rehearsal_ratio is None) == (self.budget is None):
            raise ValueError("give either rehearsal_ratio (in % of the training set) or budget (in slots)")
        return self

    def num_slots(self, num_train_samples: int) -> int:
        """Budget in slots over all ranks, at least 1; a ratio is taken as the decimal that was written."""
        if self.budget is not None:
            return self.budget
        assert self.rehearsal_ratio is not None
        return max(1, int(num_train_samples * Fraction(str(self.rehearsal_ratio)) / 100))


def shard_capacity(budget: int, num_ranks: int, rank: int) -> int:
    """Slots of one rank; the sum over ranks is the budget, exactly."""
    return budget // num_ranks + (rank < budget % num_ranks)


def class_total(budget: int, num_classes: int, place: int) -> int:
    """Slots that all ranks together give to one class; the sum over classes is the budget, exactly."""
    return budget // num_classes + (place < budget % num_classes)


def class_quota(budget: int, num_classes: int, place: int, num_ranks: int, rank: int) -> int:
    """Slots that one rank gives to one class.

    The budget's slots are numbered; class after class takes a contiguous range of them, and slot g
    belongs to rank g mod num_ranks. So the sum over ranks is ``class_total``, the sum over classes is
    ``shard_capacity``, and a class with fewer slots than there are ranks lives on some of them.

    Args:
        budget: Slots over all ranks.
        num_classes: Classes that share the budget.
        place: Which of them, from 0.
        num_ranks: Number of ranks.
        rank: Whose share is asked for.
    """
    size, extra = divmod(budget, num_classes)
    first = place * size + min(place, extra)
    last = first + class_total(budget, num_classes, place)
    return _multiples(last, num_ranks, rank) - _multiples(first, num_ranks, rank)


def _multiples(end: int, num_ranks: int, rank: int) -> int:
    """How many slot numbers below ``end`` belong to ``rank``."""
    return (end - rank + num_ranks - 1) // num_ranks if end > rank else 0
