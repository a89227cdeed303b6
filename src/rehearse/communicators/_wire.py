"""Tensors as they travel: the few dtypes that every backend sums alike, and plain bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from rehearse.core.errors import CommunicationError
from rehearse.core.protocols import ReduceOp

# Backends differ in what they can sum (Horovod: no bfloat16, no uint8), and half-precision sums
# lose bits. So everything is summed in one of four dtypes, the same on all backends.
_WIRE_DTYPES = {
    torch.float64: torch.float64,
    torch.float32: torch.float32,
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.int64: torch.int64,
    torch.int32: torch.int32,
    torch.int16: torch.int32,
    torch.int8: torch.int32,
    torch.uint8: torch.int32,
    torch.bool: torch.int32,
}


def wire_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that values are reduced in."""
    return _WIRE_DTYPES[dtype]


def check_reducible(dtype: torch.dtype, op: ReduceOp) -> None:
    """Refuse reductions whose result the dtype cannot hold.

    Raises:
        ValueError: Mean of integers, arithmetic on truth values, an unknown dtype or operation.
    """
    if op not in ("mean", "sum", "min", "max"):
        raise ValueError(f"allreduce: unknown operation {op!r} (choices: mean, sum, min, max)")
    if dtype not in _WIRE_DTYPES:
        raise ValueError(f"allreduce: {dtype} cannot be reduced (choices: {', '.join(map(str, _WIRE_DTYPES))})")
    if op == "mean" and not dtype.is_floating_point:
        raise ValueError(f"allreduce: the mean of {dtype} is no {dtype}; reduce the sum, or convert to float first")
    if op == "sum" and dtype is torch.bool:
        raise ValueError("allreduce: the sum of torch.bool is no torch.bool; use max for any, min for all")


def to_bytes(tensor: Tensor) -> Tensor:
    """A tensor's values as flat uint8; shares memory with a contiguous tensor."""
    return tensor.detach().contiguous().view(-1).view(torch.uint8)


def from_bytes(payload: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """The tensor whose values ``to_bytes`` gave."""
    # A slice of received bytes may start where the dtype cannot; a copy starts where any can.
    aligned = payload if payload.data_ptr() % dtype.itemsize == 0 else payload.clone()
    return aligned.view(dtype).view(shape)


# Gathered rows are announced by a header that every rank sends first: place of the dtype in the
# list below, number of dimensions, shape; rows that fit travel in the rest of it.
_DTYPES = sorted({value for value in vars(torch).values() if isinstance(value, torch.dtype)}, key=str)
_MAX_DIMENSIONS = 8
_ANNOUNCED_BYTES = (2 + _MAX_DIMENSIONS) * torch.int64.itemsize
INLINE_BYTES = 512 - _ANNOUNCED_BYTES


def pack_header(rows: Tensor) -> Tensor:
    """What a rank announces of its rows, as ``(512,)`` uint8 on the host; small rows travel in its end.

    Raises:
        ValueError: The tensor has no first dimension, or too many.
    """
    if not 1 <= rows.dim() <= _MAX_DIMENSIONS:
        raise ValueError(f"gather_rows: rows must have 1 to {_MAX_DIMENSIONS} dimensions, got {rows.dim()}")
    shape = [*rows.shape, *[0] * (_MAX_DIMENSIONS - rows.dim())]
    header = torch.zeros(_ANNOUNCED_BYTES + INLINE_BYTES, dtype=torch.uint8)
    header[:_ANNOUNCED_BYTES] = to_bytes(torch.tensor([_DTYPES.index(rows.dtype), rows.dim(), *shape]))
    if rows.nbytes <= INLINE_BYTES:
        header[_ANNOUNCED_BYTES : _ANNOUNCED_BYTES + rows.nbytes] = to_bytes(rows).cpu()
    return header


def read_header(header: Tensor, own: Tensor, rank: int) -> int:
    """Number of rows that a rank announces.

    Raises:
        CommunicationError: They differ from the own ones in dtype or shape of a row.
    """
    dtype, dimensions, *shape = from_bytes(header[:_ANNOUNCED_BYTES], torch.int64, (-1,)).tolist()
    theirs = (_DTYPES[dtype], tuple(shape[1:dimensions]))
    ours = (own.dtype, tuple(own.shape[1:]))
    if theirs != ours:
        raise CommunicationError(
            f"ranks disagree in gather_rows: rank {rank} sends rows of {theirs[0]} {theirs[1]}, "
            f"this rank rows of {ours[0]} {ours[1]}"
        )
    return int(shape[0])
