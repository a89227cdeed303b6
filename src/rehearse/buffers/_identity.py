"""What a saved buffer and the one that it is restored into must have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rehearse.core.errors import CheckpointError
from rehearse.core.protocols import BufferSpec
from rehearse.core.rehearsal import BufferConfig
from rehearse.core.world import World


def identity(kind: str, config: BufferConfig, spec: BufferSpec, world: World) -> dict[str, Any]:
    """What decides whether a state fits, in JSON's types.

    Args:
        kind: Name of the buffer.
        config: Its options.
        spec: What it holds.
        world: This rank's place.
    """
    return {
        "buffer": kind,
        "budget": spec.budget,
        "num_ranks": world.num_ranks,
        "rank": world.rank,
        "num_classes": spec.num_classes,
        "policy": config.policy,
        "fixed_classes": config.fixed_classes,
        "fields": {name: [field.dtype, *field.shape] for name, field in spec.fields.items()},
    }


def check_identity(here: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Refuse a state of something else.

    Raises:
        CheckpointError: Names every difference.
    """
    differences = [f"{key} is {saved.get(key)!r}, here {here[key]!r}" for key in here if saved.get(key) != here[key]]
    if differences:
        raise CheckpointError(f"the saved rehearsal buffer does not fit this run: {'; '.join(differences)}")
