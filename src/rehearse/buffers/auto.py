"""Neomem where every rank has it, else the ``python`` buffer, with a warning on screen and in provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from rehearse.buffers.neomem import NeomemBuffer, NeomemConfig, load_engine
from rehearse.buffers.python import PythonBuffer, PythonBufferConfig
from rehearse.core.batch import Batch
from rehearse.core.errors import MissingDependencyError
from rehearse.core.log import logger
from rehearse.core.protocols import Buffer, BufferSpec, Communicator
from rehearse.core.records import PhaseTimes
from rehearse.core.registry import register
from rehearse.core.rehearsal import BufferConfig


class AutoConfig(BufferConfig):
    """Options that both buffers have."""

    name: Literal["auto"] = "auto"


@register
class AutoBuffer(Buffer):
    """Decides once, when it is built, and then passes everything on; building it is collective."""

    Config = AutoConfig

    def __init__(self, config: AutoConfig, spec: BufferSpec, communicator: Communicator) -> None:
        options = config.model_dump(exclude={"name"})
        self._warning = _why_not_neomem(communicator)
        if self._warning is None:
            self._chosen: Buffer = NeomemBuffer(NeomemConfig(**options), spec, communicator)
            return
        if communicator.world.is_leader:
            logger.warning("%s", self._warning)
        self._chosen = PythonBuffer(PythonBufferConfig(**options), spec, communicator)

    def offer(self, minibatch: Batch) -> None:
        self._chosen.offer(minibatch)

    def take(self, timeout_s: float = 60.0) -> Batch:
        return self._chosen.take(timeout_s)

    def exchange(self, minibatch: Batch, upcoming: Batch | None = None) -> tuple[Batch, Batch]:
        return self._chosen.exchange(minibatch, upcoming)

    def fill(self) -> dict[int, int]:
        return self._chosen.fill()

    def content_sha256(self) -> str:
        return self._chosen.content_sha256()

    def stats(self) -> dict[str, float]:
        return self._chosen.stats()

    def background_phases(self) -> dict[str, PhaseTimes]:
        return self._chosen.background_phases()

    def describe(self) -> dict[str, Any]:
        """What the chosen buffer says, and why it is not Neomem if it is not."""
        warning = {} if self._warning is None else {"warning": self._warning}
        return {**self._chosen.describe(), "requested": "auto", **warning}

    def state_dict(self) -> dict[str, Any]:
        return self._chosen.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._chosen.load_state_dict(state)

    def close(self) -> None:
        self._chosen.close()


def _why_not_neomem(communicator: Communicator) -> str | None:
    """What to tell the user if some rank lacks the engine; the same on every rank."""
    try:
        load_engine()
        reason = ""
    except MissingDependencyError as error:
        reason = str(error)
    for rank, found in enumerate(communicator.gather_objects(reason)):
        if found:
            return f"buffer auto: rehearsing with the slower python buffer, because on rank {rank} {found}"
    return None
