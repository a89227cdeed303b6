"""Every random choice has a seed of its own, derived from the run's seed and what the choice is for.

Seeds derived by purpose and position need no generator state to resume, and one purpose never
disturbs another's sequence.
"""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch

_BITS = 63


def derive_seed(seed: int, purpose: str, *position: int) -> int:
    """A seed in ``[0, 2**63)`` for one purpose at one position, such as (task, epoch)."""
    key = ":".join((str(seed), purpose, *map(str, position)))
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> (64 - _BITS)


def seed_everything(seed: int, rank: int) -> None:
    """Seed the global generators of Python, NumPy and torch, differently on each rank."""
    random.seed(derive_seed(seed, "python", rank))
    np.random.seed(derive_seed(seed, "numpy", rank) % 2**32)
    torch.manual_seed(derive_seed(seed, "torch", rank))


def generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A CPU generator for one purpose, so that CPU and CUDA runs draw the same numbers."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *position))
