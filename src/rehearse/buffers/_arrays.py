"""Tensors as the engine's NumPy arrays and back, sharing memory."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_array(rows: Tensor) -> NDArray[Any]:
    """A host tensor's memory, copied only where it has gaps; bfloat16, which NumPy lacks, as uint16."""
    rows = rows.detach().contiguous()
    return (rows.view(torch.uint16) if rows.dtype == torch.bfloat16 else rows).numpy()


def to_tensor(rows: NDArray[Any], dtype: torch.dtype) -> Tensor:
    """The array's memory as a tensor of a dtype that is as wide as the array's."""
    tensor = torch.from_numpy(rows)
    return tensor if tensor.dtype == dtype else tensor.view(dtype)
