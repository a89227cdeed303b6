"""What can go wrong; all of it is a neomem.Error."""

from __future__ import annotations


class Error(RuntimeError):
    """Base of everything that this package raises on its own."""


class ConfigError(Error, ValueError):
    """An option, or options of several ranks together, make no sense."""


class SchemaError(Error, ValueError):
    """Rows whose dtype, shape, layout or label do not fit the fields; nothing was stored."""


class MemoryBudgetError(Error, MemoryError):
    """More memory was asked for than there is.

    Attributes:
        asked_bytes: What was asked for.
        available_bytes: What is available.
    """

    def __init__(self, message: str, asked_bytes: int = 0, available_bytes: int = 0) -> None:
        super().__init__(message)
        self.asked_bytes = asked_bytes
        self.available_bytes = available_bytes


class PeerLost(Error):  # noqa: N818
    """Other ranks are gone or silent.

    Attributes:
        ranks: Which.
    """

    def __init__(self, message: str, ranks: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.ranks = ranks


class SnapshotExpired(Error):  # noqa: N818
    """Ranks are not in lockstep: a peer is so far ahead that records of the wanted round may be gone.

    Attributes:
        peer: Rank that is ahead.
        epoch: Its round.
        wanted: The round that was being read.
    """

    def __init__(self, message: str, peer: int = -1, epoch: int = 0, wanted: int = 0) -> None:
        super().__init__(message)
        self.peer = peer
        self.epoch = epoch
        self.wanted = wanted


class Timeout(Error, TimeoutError):  # noqa: N818
    """A call took longer than its timeout."""


class CorruptRecord(Error):  # noqa: N818
    """A record does not carry the stamps that its directory entry promises."""


class CheckpointError(Error):
    """A checkpoint is damaged, incomplete or does not fit.

    Attributes:
        file: Its path.
        reason: What is wrong with it.
    """

    def __init__(self, message: str, file: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.reason = reason


class ClosedError(Error):
    """The memory was closed, or belongs to the process that this one was forked from."""
