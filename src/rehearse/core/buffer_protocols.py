"""What rehearsal buffers promise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from rehearse.core.batch import Batch
    from rehearse.core.rank_protocols import Communicator
    from rehearse.core.records import PhaseTimes
    from rehearse.core.rehearsal import BufferConfig


@dataclass(frozen=True, slots=True)
class RecordField:
    """One named tensor of a stored representative: dtype by its torch name, shape without the batch."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BufferSpec:
    """What a buffer must hold.

    Attributes:
        fields: ``inputs`` and what the strategy stores besides; the label is implied.
        num_classes: Labels are in ``[0, num_classes)``.
        budget: Slots of all ranks together.
        seed: Seeds candidates, victims and draws.
        batch_size: Samples of a minibatch, at most.
        draws: Representatives of each independent draw of a round, per rank.
    """

    fields: Mapping[str, RecordField]
    num_classes: int
    budget: int
    seed: int
    batch_size: int
    draws: tuple[int, ...]


class Buffer(ABC):
    """Where representatives live: one shard per rank, draws from the union of all of them.

    ``take`` returns what was drawn after the last ``offer``; nothing before the first. Within a draw no
    representative comes twice; draws are independent of each other.
    """

    Config: ClassVar[type[BufferConfig]]

    @abstractmethod
    def __init__(self, config: BufferConfig, spec: BufferSpec, communicator: Communicator) -> None:
        """Reserve this rank's shard."""

    @abstractmethod
    def offer(self, minibatch: Batch) -> None:
        """Offer the minibatch's samples as candidates and start drawing the next representatives.

        Args:
            minibatch: Stored samples on the host, as the loader gave them; may be empty.

        Raises:
            RehearsalError: Wrong dtype or shape, or a label out of range; nothing is stored.
        """

    @abstractmethod
    def take(self, timeout_s: float = 60.0) -> tuple[Batch, ...]:
        """Each draw of the last round; empty batches if nothing was offered yet."""

    def exchange(self, minibatch: Batch, upcoming: Batch | None = None) -> tuple[Batch, tuple[Batch, ...]]:
        """``take`` and ``offer`` as a training step needs them.

        A buffer that works in the background returns before the minibatch is stored, so its tensors must
        not change until the next exchange. What is returned may lie in the buffer's own memory, the
        representatives right behind the minibatch; it stays as it is until the exchange after the next.

        Args:
            minibatch: What to train now, and to offer.
            upcoming: The next exchange's minibatch where it is known: there is time to place it in memory.

        Returns:
            The minibatch, and each draw of the last round.
        """
        drawn = self.take()
        self.offer(minibatch)
        return minibatch, drawn

    @abstractmethod
    def fill(self) -> dict[int, int]:
        """Number of representatives in this rank's shard, by class."""

    @abstractmethod
    def content_sha256(self) -> str:
        """Digest of this rank's shard, the same where runs that did the same hold the same."""

    @abstractmethod
    def stats(self) -> dict[str, float]:
        """Counters, sizes in bytes and times in seconds, unit in the key."""

    def background_phases(self) -> dict[str, PhaseTimes]:
        """What this rank's buffer did beside the training steps: ``populate``, ``plan``, ``fetch``, ``copy``."""
        return {}

    def describe(self) -> dict[str, Any]:
        """For provenance: which buffer works, and how; the same on every rank."""
        return {"name": type(self).Config.model_fields["name"].default}

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The whole shard with counters and generators, to be restored exactly."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""

    def close(self) -> None:
        """Release memory and threads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
