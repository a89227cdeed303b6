"""How a rank fails without leaving the others waiting."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rehearse.core.errors import INTERRUPTED_EXIT_CODE, TERMINATED_EXIT_CODE, RehearseError, Terminated

if TYPE_CHECKING:
    from rehearse.core.protocols import Communicator

_BUG_EXIT_CODE = 1


@contextmanager
def abort_on_error(communicator: Communicator) -> Iterator[None]:
    """End this rank at once when its part of a run fails, so that no peer waits for it.

    An expected error becomes one line on standard error and the error's own exit code; an
    interrupt becomes exit code 130, SIGTERM 143; anything else is a bug, shown with its traceback, exit code 1.
    A single rank has no peers: its errors are raised as they are.

    Args:
        communicator: Joins the ranks of the run.
    """
    try:
        yield
    except BaseException as error:
        if communicator.world.num_ranks == 1 or (isinstance(error, SystemExit) and not error.code):
            raise
        text, exit_code = describe_failure(error)
        _write_line(f"rehearse: [rank {communicator.world.rank}] {text}")
        communicator.abort(exit_code)
        raise


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that records say why a run ended and peers are told."""

    def stop(number: int, frame: object) -> None:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def describe_failure(error: BaseException) -> tuple[str, int]:
    """What to tell the user about an error, and the exit code of the process."""
    if isinstance(error, RehearseError):
        return f"error: {error}", error.exit_code
    if isinstance(error, Terminated):
        return "terminated", TERMINATED_EXIT_CODE
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED_EXIT_CODE
    if isinstance(error, SystemExit):
        return f"exit: {error.code}", error.code if isinstance(error.code, int) else _BUG_EXIT_CODE
    return "internal error:\n" + "".join(traceback.format_exception(error)).rstrip(), _BUG_EXIT_CODE


def end_process(exit_code: int) -> None:
    """End this process now: flush what was printed, run no exit handlers, which could wait for peers."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # a closed or full stream must not keep the process alive
    os._exit(exit_code)


def _write_line(text: str) -> None:
    """One system call per message, so that lines of several ranks do not mix."""
    sys.stderr.flush()
    os.write(2, f"{text}\n".encode())
