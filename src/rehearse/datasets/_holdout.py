"""A fixed test set for data that comes without one."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TEST_FRACTION = 0.2


def held_out_mask(keys: Sequence[str], labels: Sequence[int]) -> NDArray[np.bool_]:
    """Choose one fifth of each class, at least one sample, as test set.

    The choice orders the samples of a class by the sha256 of their keys, so it is the same for
    ever: no library's random numbers take part.

    Args:
        keys: What identifies each sample, such as its file name.
        labels: Class of each sample.

    Returns:
        ``(n,)``, true for test samples.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for position, label in enumerate(labels):
        members[int(label)].append(position)
    mask = np.zeros(len(keys), dtype=np.bool_)
    for positions in members.values():
        ordered = sorted(positions, key=lambda position: hashlib.sha256(keys[position].encode()).digest())
        mask[ordered[: max(1, round(TEST_FRACTION * len(ordered)))]] = True
    return mask
