"""What goes wrong in the engine, as errors of this project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rehearse.core.errors import CheckpointError, CommunicationError, ConfigError, RehearsalError


@contextmanager
def translated(engine: Any, round_number: int) -> Iterator[None]:
    """Turn the engine's exceptions into those that the command line understands.

    Args:
        engine: The ``neomem`` module.
        round_number: The round under way, for messages.

    Raises:
        CommunicationError: A peer is lost or silent (the message names it), or ranks are not in step.
        CheckpointError: A saved shard is damaged or of another run.
        ConfigError: Options that the engine cannot work with on these ranks.
        RehearsalError: Anything else.
    """
    try:
        yield
    except (engine.PeerLost, engine.SnapshotExpired) as error:
        raise CommunicationError(f"rehearsal, round {round_number}: {error}") from error
    except engine.CheckpointError as error:
        raise CheckpointError(f"the saved rehearsal buffer: {error}") from error
    except engine.ConfigError as error:
        raise ConfigError(f"buffer: {error}") from error
    except engine.MemoryBudgetError as error:
        raise RehearsalError(f"{error}; lower rehearsal_ratio or use more nodes") from error
    except engine.Error as error:
        raise RehearsalError(f"rehearsal, round {round_number}: {error}") from error
