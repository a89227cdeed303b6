"""Refuses a minibatch that does not fit the buffer, before anything of it is stored."""

from __future__ import annotations

from torch import Tensor

from rehearse.buffers._shard import Layout
from rehearse.core.batch import Batch
from rehearse.core.errors import RehearsalError


def offered_fields(minibatch: Batch, layout: Layout, num_classes: int) -> dict[str, Tensor]:
    """What of a minibatch is to be stored, by field.

    Args:
        minibatch: Samples on the host; its ``targets`` hold the fields besides ``inputs``.
        layout: What the buffer holds; further targets are left out.
        num_classes: Labels must be in ``[0, num_classes)``.

    Raises:
        RehearsalError: A field is missing, or a dtype, shape, device or label is wrong.
    """
    available = {"inputs": minibatch.inputs, **minibatch.targets}
    missing = [name for name in layout.dtypes if name not in available]
    if missing:
        raise RehearsalError(
            f"the minibatch lacks {', '.join(missing)}, which the buffer stores; it has {', '.join(available)}"
        )
    labels = minibatch.labels
    _check("labels", labels, "int64", (len(minibatch),))
    for name, dtype in layout.dtypes.items():
        _check(name, available[name], str(dtype).removeprefix("torch."), (len(minibatch), *layout.shapes[name]))
    values = labels.numpy()  # whose comparisons cost a fraction of torch's for a few numbers
    wrong = (values < 0) | (values >= num_classes)
    if wrong.any():
        label = values[wrong][0]
        raise RehearsalError(f"label {label} is out of range: the buffer expects labels in [0, {num_classes})")
    return {name: available[name].detach() for name in layout.dtypes}


def _check(name: str, tensor: Tensor, dtype: str, shape: tuple[int, ...]) -> None:
    found = str(tensor.dtype).removeprefix("torch.")
    if found != dtype:
        raise RehearsalError(f"minibatch field {name!r} has dtype {found}, expected {dtype}")
    if tuple(tensor.shape) != shape:
        raise RehearsalError(f"minibatch field {name!r} has shape {tuple(tensor.shape)}, expected {shape}")
    if tensor.device.type != "cpu":
        raise RehearsalError(f"minibatch field {name!r} is on {tensor.device}, expected it on the host (cpu)")
