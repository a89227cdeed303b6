"""Optimisers whose gradients are averaged over ranks in fixed buckets while the backward pass runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from rehearse.communicators._buckets import cut_buckets


class StartSum(Protocol):
    """Starts to sum a flat tensor over ranks, in place; what it returns waits for the sum."""

    def __call__(self, flat: Tensor, name: str) -> Callable[[], None]: ...


class LocalOptimizer:
    """An optimiser of one rank: its gradients are already the mean over ranks."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Parameters with their learning rates and other options."""
        return self._optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self._optimizer.param_groups = groups

    def synchronize(self) -> None:
        """Wait until every gradient is the mean over ranks."""

    @contextmanager
    def accumulate(self) -> Iterator[None]:
        """Backward passes inside add to the gradients; the pass that ends the step comes after."""
        yield

    def step(self) -> None:
        """Update the parameters with the averaged gradients."""
        self._optimizer.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._optimizer.zero_grad()

    def reset_state(self) -> None:
        """Forget momentum and every other state, as a new optimiser would."""
        self._optimizer.state.clear()

    def state_dict(self) -> dict[str, Any]:
        """State of the wrapped optimiser."""
        return self._optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of the wrapped optimiser."""
        self._optimizer.load_state_dict(state)


class BucketedOptimizer(LocalOptimizer):
    """Averages gradients over ranks, bucket after bucket, as the backward pass produces them.

    Buckets are fixed: the parameters in reverse order of the model, cut where a bucket reaches its
    size, and always summed in the same order. So sums do not depend on timing, and equal runs give
    equal bits at any number of ranks. Ranks need not use the same parameters in a step.

    Args:
        optimizer: Updates the parameters; those of the model that it does not hold are not averaged.
        model: Gives the order of the parameters.
        start_sum: Starts a sum over ranks.
        num_ranks: Number of ranks.
        bucket_bytes: Size at which a bucket is full.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        start_sum: StartSum,
        num_ranks: int,
        bucket_bytes: int,
    ) -> None:
        super().__init__(optimizer)
        self._model = model
        self._start_sum = start_sum
        self._num_ranks = num_ranks
        self._bucket_bytes = bucket_bytes
        self._accumulating = False
        self._hooks: list[RemovableHandle] = []
        # A later wrapper of the same model must not find the hooks of this one.
        weakref.finalize(self, _remove, self._hooks)
        self._build()

    def synchronize(self) -> None:
        """Wait until every gradient is the mean over ranks; collective.

        Raises:
            CommunicationError: A peer was lost.
        """
        self._launch(len(self._buckets))
        for bucket in self._buckets:
            bucket.finish()
            bucket.spread(self._num_ranks)
        self._begin_round()

    @contextmanager
    def accumulate(self) -> Iterator[None]:
        """Backward passes inside add to the gradients; the pass that ends the step comes after."""
        self._accumulating = True
        try:
            yield
        finally:
            self._accumulating = False

    def step(self) -> None:
        """Update the parameters with the averaged gradients.

        Raises:
            RuntimeError: Gradients were computed after the last ``synchronize``.
        """
        if self._is_open:
            raise RuntimeError("step() before synchronize(): the gradients are not averaged over ranks yet")
        super().step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for bucket in self._buckets:
            bucket.finish()
        super().zero_grad()
        if [id(param) for param in self._trainable()] != self._built_for:
            self._build()
        self._begin_round()

    def _trainable(self) -> list[nn.Parameter]:
        return [param for group in self.param_groups for param in group["params"] if param.requires_grad]

    def _build(self) -> None:
        """Assign the parameters that are trained now to buckets, and listen for their gradients."""
        _remove(self._hooks)
        trainable = self._trainable()
        self._built_for = [id(param) for param in trainable]
        position = {id(param): index for index, param in enumerate(self._model.parameters())}
        trainable.sort(key=lambda param: -position.get(id(param), -1))
        self._buckets = cut_buckets(trainable, self._bucket_bytes)
        self._bucket_of = {id(param): bucket for bucket in self._buckets for param in bucket.params}
        notice = partial(_notice, weakref.ref(self))
        self._hooks += [param.register_post_accumulate_grad_hook(notice) for param in trainable]
        self._begin_round()

    def _begin_round(self) -> None:
        for bucket in self._buckets:
            bucket.arrived.clear()
        self._num_launched = 0
        self._is_open = False

    def _on_gradient(self, param: Tensor) -> None:
        self._is_open = True
        if self._accumulating:
            return
        bucket = self._bucket_of[id(param)]
        if bucket.wait is not None:
            raise RuntimeError(
                "a second backward pass before synchronize(): run all passes of a step but the last in accumulate()"
            )
        bucket.arrived.add(id(param))
        ready = self._num_launched
        while ready < len(self._buckets) and len(self._buckets[ready].arrived) == len(self._buckets[ready].params):
            ready += 1
        self._launch(ready)

    def _launch(self, end: int) -> None:
        """Start the sums of all buckets before ``end``, always in the same order, as collectives must be."""
        for index in range(self._num_launched, end):
            bucket = self._buckets[index]
            bucket.fill()
            bucket.wait = self._start_sum(bucket.flat, f"gradients.{index}")
        self._num_launched = max(self._num_launched, end)


def _notice(optimizer: weakref.ref[BucketedOptimizer], param: Tensor) -> None:
    owner = optimizer()
    if owner is not None:
        owner._on_gradient(param)


def _remove(hooks: list[RemovableHandle]) -> None:
    for hook in hooks:
        hook.remove()
    hooks.clear()
