"""Errors that a user can act on; each class has its own exit code."""

from __future__ import annotations


class RehearseError(Exception):
    """Base of all expected errors: shown as one line, without a traceback."""

    exit_code = 1


class ConfigError(RehearseError):
    """The configuration is wrong; the message lists every problem with its path."""

    exit_code = 2


class PluginError(RehearseError):
    """A plug-in is unknown, registered twice or breaks its contract."""

    exit_code = 2


class MissingDependencyError(RehearseError):
    """An optional library is needed but absent.

    Args:
        library: What is missing, as the user knows it.
        needed_for: What asked for it.
        install: The command that installs it.
    """

    exit_code = 3

    def __init__(self, library: str, needed_for: str, install: str) -> None:
        super().__init__(f"{needed_for} needs {library}, which is not installed. Install it with: {install}")


class DataError(RehearseError):
    """A dataset is absent, damaged or holds values that cannot be trained on."""

    exit_code = 4


class CommunicationError(RehearseError):
    """A rank was lost or ranks disagree; the message names the operation and the seconds waited."""

    exit_code = 5


class RehearsalError(RehearseError):
    """The rehearsal buffer failed."""

    exit_code = 5


class CheckpointError(RehearseError):
    """A checkpoint is damaged or does not fit this run."""

    exit_code = 6


class TrainingError(RehearseError):
    """Training cannot go on, for example because the loss is not finite."""

    exit_code = 7


class OutputError(RehearseError):
    """A result could not be written, for example because the disk is full."""

    exit_code = 8


class Terminated(KeyboardInterrupt):
    """SIGTERM, as launchers and schedulers send it; ends a run like Ctrl-C."""


INTERRUPTED_EXIT_CODE = 130
TERMINATED_EXIT_CODE = 143
