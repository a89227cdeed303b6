"""Loss of each sample, by kind of problem."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from rehearse.core.batch import Batch


def cross_entropy(outputs: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of each sample.

    Args:
        outputs: ``(n, num_classes)`` logits.
        batch: n samples with labels.

    Returns:
        ``(n,)`` losses.
    """
    return F.cross_entropy(outputs, batch.labels, reduction="none")
