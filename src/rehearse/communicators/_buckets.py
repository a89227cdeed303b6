"""Buckets of gradients that are summed over ranks together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from rehearse.communicators._wire import wire_dtype


class Bucket:
    """Gradients that travel together: a flat tensor, and behind them one flag per parameter.

    A flag says how many ranks had a gradient for the parameter, so that a parameter unused on all
    ranks keeps no gradient, exactly as on one rank.
    """

    def __init__(self, params: list[nn.Parameter]) -> None:
        sizes = [param.numel() for param in params]
        self.params = params
        self.flat = torch.zeros(sum(sizes) + len(params), dtype=wire_dtype(params[0].dtype), device=params[0].device)
        *views, self.flags = self.flat.split([*sizes, len(params)])
        self.views = [view.view(param.shape) for view, param in zip(views, params, strict=True)]
        self.arrived: set[int] = set()
        self.all_used = True
        self.wait: Callable[[], None] | None = None

    def fill(self) -> None:
        """Copy the parameters' gradients in; a parameter without one counts as zero."""
        self.flags.fill_(1.0)
        self.all_used = True
        for index, (param, view) in enumerate(zip(self.params, self.views, strict=True)):
            if param.grad is None:
                view.zero_()
                self.flags[index] = 0.0
                self.all_used = False
            else:
                view.copy_(param.grad)

    def spread(self, num_ranks: int) -> None:
        """Turn the sum into the mean and give it to the parameters."""
        # Reading the flags waits for the device, so only where this rank left something unused.
        used = [True] * len(self.params) if self.all_used else (self.flags > 0).tolist()
        self.flat /= num_ranks
        for param, view, is_used in zip(self.params, self.views, used, strict=True):
            param.grad = view.to(param.dtype) if is_used else None

    def finish(self) -> None:
        """Wait for a sum that is under way."""
        if self.wait is not None:
            self.wait()
            self.wait = None


def cut_buckets(params: list[nn.Parameter], bucket_bytes: int) -> list[Bucket]:
    """Consecutive parameters of one dtype and device, together at least ``bucket_bytes`` where there are enough."""
    open_buckets: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    full: list[list[nn.Parameter]] = []
    for param in params:
        kind = (param.dtype, param.device)
        bucket = open_buckets.setdefault(kind, [])
        bucket.append(param)
        if sum(p.nbytes for p in bucket) >= bucket_bytes:
            full.append(open_buckets.pop(kind))
    return [Bucket(group) for group in (*full, *open_buckets.values())]
