"""One rank's engine, round by round: tensors in, tensors out, errors of this project."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rehearse.buffers._arrays import to_array, to_tensor
from rehearse.buffers._engine_errors import translated
from rehearse.buffers._shard import Layout

Fields = Mapping[str, Tensor]
# After its deadline the engine may still have work to do.
_MARGIN_MS = 30_000


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the engine drew: views of its memory, valid until ``depth`` further rounds were begun.

    Attributes:
        num_placed: Rows of a minibatch in front of the representatives.
        fields: ``(num_placed + n, *shape)`` per field.
        labels: ``(num_placed + n,)`` int64.
    """

    num_placed: int
    fields: dict[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        """n, the number of representatives."""
        return len(self.labels) - self.num_placed


class Rounds:
    """At most one round's draws are under way: those of the round that was begun last.

    Args:
        engine: The ``neomem`` module.
        layout: Fields of a representative.
        draws: Representatives of each draw.
        options: Of ``neomem.Memory``; building it is collective.
    """

    def __init__(self, engine: Any, layout: Layout, draws: tuple[int, ...], options: Mapping[str, Any]) -> None:
        self._engine = engine
        self._layout = layout
        self._draws = draws
        self._options = options
        self.number = 0
        self.memory: Any = self._open()
        self._tickets: list[int] = []
        self._collected: list[Drawn] = []  # of the draws under way, where a wait for the others ran out

    @property
    def is_drawing(self) -> bool:
        """Whether draws were begun and not yet collected."""
        return bool(self._tickets)

    def begin(self, fields: Fields, labels: Tensor, *, wait: bool) -> None:
        """Offer a minibatch and start the draws that follow; draws that nobody collected are dropped.

        Args:
            fields: ``(b, *shape)`` per field.
            labels: ``(b,)`` int64.
            wait: Store candidates before returning; else the tensors must not change until the next round.
        """
        self.collect()
        with self.translated():
            self.memory.offer(_arrays(fields), to_array(labels), wait=wait)
            self._tickets = [self.memory.prefetch(size) for size in self._draws]
        self.number += 1

    def place(self, fields: Fields, labels: Tensor) -> None:
        """Copy a minibatch in front of the first draw, in the background; replaces one placed before."""
        with self.translated():
            self.memory.assemble(_arrays(fields), to_array(labels), self._tickets[0])

    def collect(self, timeout_s: float | None = None) -> list[Drawn]:
        """Wait for the draws under way; none if there are none.

        Args:
            timeout_s: How long; None is until the engine gives up, which says why.
        """
        while self._tickets:
            self._collected.append(self._collect(self._tickets[0], timeout_s))
            self._tickets = self._tickets[1:]
        collected, self._collected = self._collected, []
        return collected

    def _collect(self, ticket: int, timeout_s: float | None) -> Drawn:
        with self.translated():
            patience_ms = self._options["deadline_ms"] + _MARGIN_MS if timeout_s is None else int(1000 * timeout_s)
            sample = self.memory.take(ticket, patience_ms)
        dtypes = self._layout.dtypes
        return Drawn(
            num_placed=len(sample.augmented_labels) - len(sample),
            fields={name: to_tensor(rows, dtypes[name]) for name, rows in sample.augmented_fields.items()},
            labels=torch.from_numpy(sample.augmented_labels),
        )

    def fill(self) -> dict[int, int]:
        """Representatives in this shard by class, ascending."""
        with self.translated():
            return dict(sorted(self.memory.fill().items()))

    def report(self) -> dict[str, float]:
        """The engine's statistics in its own words."""
        with self.translated():
            report: dict[str, float] = self.memory.stats()
        return report

    def dump(self) -> Tensor:
        """This shard with policy, counters and generator, ``(bytes,)`` uint8."""
        with self.translated():
            return torch.from_numpy(self.memory.dump())

    def restore(self, number: int, shard: Tensor) -> None:
        """Go on where a dump was made; collective."""
        if self.number > 0:
            self.memory.close()
            self.memory = self._open()
        with self.translated():
            # One per rank is expected, and only this rank's is read.
            self.memory.restore([shard.numpy()] * self._options["size"])
        self.number, self._tickets, self._collected = number, [], []

    def close(self) -> None:
        """Stop the engine."""
        self.memory.close()

    def translated(self) -> AbstractContextManager[None]:
        """Errors of the engine as errors of this project."""
        return translated(self._engine, self.number)

    def _open(self) -> Any:
        with self.translated():
            fields = {
                name: (str(dtype).removeprefix("torch."), self._layout.shapes[name])
                for name, dtype in self._layout.dtypes.items()
            }
            return self._engine.Memory(fields, **self._options)


def _arrays(fields: Fields) -> dict[str, Any]:
    return {name: to_array(rows) for name, rows in fields.items()}
