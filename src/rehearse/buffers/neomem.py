"""The Neomem engine: representatives are drawn and copied in the background while the step computes.

A round begins with an offer. The engine's thread then stores candidates in this rank's shard, waits
until all ranks have done so, draws r of the union of all shards, and copies them from the memory of
their owners. The next ``take`` finds them there. Policies and draws follow the laws of the ``python``
buffer, with random numbers of their own.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor

from rehearse.buffers._draws import MAX_SEED
from rehearse.buffers._engine_options import EngineConfig, engine_options
from rehearse.buffers._engine_stats import background_phases_of, counts_of, seconds_of
from rehearse.buffers._global_count import GlobalCount
from rehearse.buffers._identity import check_identity, identity
from rehearse.buffers._offered import offered_fields
from rehearse.buffers._rounds import Rounds
from rehearse.buffers._shard import Layout
from rehearse.core.batch import Batch
from rehearse.core.errors import MissingDependencyError, RehearsalError
from rehearse.core.protocols import Buffer, BufferSpec, Communicator
from rehearse.core.records import PhaseTimes
from rehearse.core.registry import register
from rehearse.core.rehearsal import BUILD_ENGINE

# Sums that the engine begins anew after a restore.
_CARRIED = ("drawn", "bytes_exchanged")


class NeomemConfig(EngineConfig):
    """Options of the Neomem engine, beside those of every buffer."""

    name: Literal["neomem"] = "neomem"


def load_engine() -> ModuleType:
    """The ``neomem`` package.

    Raises:
        MissingDependencyError: It is not built, or cannot be loaded.
    """
    try:
        return importlib.import_module("neomem")
    except ImportError as error:
        raise MissingDependencyError(f"Neomem ({error})", "the neomem buffer", BUILD_ENGINE) from error


@register
class NeomemBuffer(Buffer):
    """Rehearsal beside the training step; building and restoring it is collective."""

    Config = NeomemConfig

    def __init__(self, config: NeomemConfig, spec: BufferSpec, communicator: Communicator) -> None:
        self._engine = load_engine()
        if not 0 <= spec.seed <= MAX_SEED:
            raise RehearsalError(f"the buffer's seed must be in [0, 2**64), got {spec.seed}")
        if "inputs" not in spec.fields:
            raise RehearsalError(f"the buffer needs a field 'inputs', got {', '.join(spec.fields) or 'none'}")
        self._config = config
        self._spec = spec
        self._communicator = communicator
        self._layout = Layout(spec.fields)
        self._rounds = Rounds(self._engine, self._layout, spec.draws, engine_options(config, spec, communicator))
        self._global_count = self._new_global_count()
        self._placed: Batch | None = None  # the minibatch in front of the first draw under way
        labels, fields = self._layout.unpack(torch.zeros((0, self._layout.row_bytes), dtype=torch.uint8))
        self._drawn = tuple(self._batch(labels, fields, 0) for _ in spec.draws)
        self._carried = dict.fromkeys(_CARRIED, 0)

    def offer(self, minibatch: Batch) -> None:
        """Store candidates before returning, so that the minibatch may change, and start the next draw.

        Raises:
            RehearsalError: Wrong dtype or shape, or a label out of range; nothing is stored.
            CommunicationError: Another rank is lost.
        """
        self._rounds.begin(self._fields_of(minibatch), minibatch.labels, wait=True)
        self._placed = None

    def take(self, timeout_s: float = 60.0) -> tuple[Batch, ...]:
        """Each draw of the last round, in new memory; collective until every rank's draws are complete.

        Raises:
            CommunicationError: Another rank is lost, or silent beyond ``deadline_s``.
            RehearsalError: They are not there in time.
        """
        self._collect(timeout_s)
        return tuple(batch.map_tensors(Tensor.clone) for batch in self._drawn)

    def exchange(self, minibatch: Batch, upcoming: Batch | None = None) -> tuple[Batch, tuple[Batch, ...]]:
        """``take`` and ``offer``, without waiting for the offer and without copying what was drawn."""
        fields, labels = self._fields_of(minibatch), minibatch.labels
        if self._config.implementation == "standard" and self._placed is not minibatch and self._rounds.is_drawing:
            self._rounds.place(fields, labels)
        placed = self._collect(None, minibatch)
        self._rounds.begin(fields, labels, wait=False)
        self._placed = upcoming
        if self._config.implementation == "standard" and upcoming is not None:
            self._rounds.place(self._fields_of(upcoming), upcoming.labels)
        return minibatch if placed is None else placed, self._drawn

    def fill(self) -> dict[int, int]:
        return self._rounds.fill()

    def stats(self) -> dict[str, float]:
        """Sizes now, sums since the start, and times of this process by phase.

        ``bytes`` is all that this rank reserved, ``bytes_exchanged`` what it read from other ranks.
        ``populate`` is spent on storing candidates, ``plan`` on waiting for all ranks and choosing, ``fetch``
        on reading over the network, ``copy`` on copying in memory; ``wait`` is what training waited.
        """
        report = self._rounds.report()
        counts = counts_of(report)
        carried = {name: counts[name] + before for name, before in self._carried.items()}
        return {**counts, **carried, **seconds_of(report)}

    def background_phases(self) -> dict[str, PhaseTimes]:
        return background_phases_of(self._rounds.report())

    def describe(self) -> dict[str, Any]:
        return {
            "name": "neomem",
            "engine": self._engine.__version__,
            "implementation": self._config.implementation,
            "mode": self._config.mode,
            "transports": sorted(set(self._rounds.memory.transports) - {"self", "unused"}),
        }

    def content_sha256(self) -> str:
        """Digest of all that is saved of this rank's shard: representatives, policy, counters."""
        self._collect()
        return hashlib.sha256(self._rounds.dump().numpy().tobytes()).hexdigest()

    def state_dict(self) -> dict[str, Any]:
        """The shard as the engine saves it, and the round in flight; the generators' state is the round's number."""
        self._collect()
        counts = self.stats()
        return {
            "identity": self._identity(),
            "round": self._rounds.number,
            "shard": self._rounds.dump(),
            "drawn": [
                {"fields": {"inputs": drawn.inputs, **drawn.targets}, "labels": drawn.labels, "total": drawn.num_global}
                for drawn in self.take()
            ],
            "counters": {name: int(counts[name]) for name in _CARRIED},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave; collective.

        Raises:
            CheckpointError: The state is damaged, or belongs to another buffer, budget, world, policy or layout.
        """
        check_identity(self._identity(), state["identity"])
        self._rounds.restore(int(state["round"]), state["shard"])
        self._drawn = tuple(
            self._batch(
                drawn["labels"].clone(), {k: v.clone() for k, v in drawn["fields"].items()}, int(drawn["total"])
            )
            for drawn in state["drawn"]
        )
        self._placed = None
        self._global_count = self._new_global_count()
        self._carried = {name: int(state["counters"][name]) for name in _CARRIED}

    def close(self) -> None:
        self._rounds.close()

    def _fields_of(self, minibatch: Batch) -> dict[str, Tensor]:
        return offered_fields(minibatch, self._layout, self._spec.num_classes)

    def _collect(self, timeout_s: float | None = None, minibatch: Batch | None = None) -> Batch | None:
        """Make what was drawn the representatives of the last round.

        Args:
            timeout_s: How long to wait for it; None is until the engine gives up.
            minibatch: What was placed in front of them, if anything was.

        Returns:
            The minibatch in the engine's memory; None if it was not placed there.
        """
        drawn = self._rounds.collect(timeout_s)
        if not drawn:
            return None
        self._placed, end = None, drawn[0].num_placed
        totals = self._global_count.totals(tuple(map(len, drawn)), self._draws_stay_full)
        self._drawn = tuple(
            self._batch(
                draw.labels[draw.num_placed :], {k: v[draw.num_placed :] for k, v in draw.fields.items()}, total
            )
            for draw, total in zip(drawn, totals, strict=True)
        )
        if minibatch is None or end == 0:
            return None
        front = {name: rows[:end] for name, rows in drawn[0].fields.items()}
        inputs = front.pop("inputs")
        return replace(minibatch, inputs=inputs, labels=drawn[0].labels[:end], targets={**minibatch.targets, **front})

    def _draws_stay_full(self) -> bool:
        """Whether this rank's draws, once complete, remain so; lost ranks take their records with them."""
        return self._config.mode == "lockstep" or sum(self.fill().values()) >= max(self._spec.draws)

    def _new_global_count(self) -> GlobalCount:
        config = self._config
        alike = config.scope == "global" and config.mode == "lockstep"
        return GlobalCount(self._communicator, self._spec.draws, alike)

    def _batch(self, labels: Tensor, fields: dict[str, Tensor], num_global: int) -> Batch:
        return Batch(
            inputs=fields["inputs"],
            labels=labels,
            targets={name: rows for name, rows in fields.items() if name != "inputs"},
            num_global=num_global,
            num_ranks=self._communicator.world.num_ranks,
        )

    def _identity(self) -> dict[str, Any]:
        return identity("neomem", self._config, self._spec, self._communicator.world)
