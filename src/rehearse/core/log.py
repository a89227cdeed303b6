"""Messages for people: one line each, on standard error, from the leader unless something is wrong."""

from __future__ import annotations

import logging
import sys

from rehearse.core.world import World

logger = logging.getLogger("rehearse")


def configure(world: World, level: str = "info") -> None:
    """Send messages to standard error; ranks other than the leader only report warnings and errors."""
    handler = logging.StreamHandler(sys.stderr)
    prefix = f"[rank {world.rank}] " if world.num_ranks > 1 else ""
    handler.setFormatter(logging.Formatter(f"rehearse: {prefix}%(message)s"))
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper() if world.is_leader else "WARNING")
