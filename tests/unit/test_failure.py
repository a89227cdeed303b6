import subprocess
import sys

import pytest

from rehearse.core.errors import CommunicationError, DataError, OutputError, Terminated
from rehearse.core.failure import abort_on_error
from rehearse.core.world import World


class Recorder:
    """A communicator that notes the exit code with which it would end the process."""

    def __init__(self, num_ranks=2):
        self.world = World(rank=num_ranks - 1, num_ranks=num_ranks)
        self.exit_code = None

    def abort(self, exit_code):
        self.exit_code = exit_code


def fail(communicator, error):
    with abort_on_error(communicator):
        raise error


@pytest.mark.parametrize(
    ("error", "exit_code", "said"),
    [
        (DataError("sample 3 cannot be read"), 4, "rehearse: [rank 1] error: sample 3 cannot be read\n"),
        (CommunicationError("lost a peer"), 5, "rehearse: [rank 1] error: lost a peer\n"),
        (OutputError("disk full"), 8, "rehearse: [rank 1] error: disk full\n"),
        (KeyboardInterrupt(), 130, "rehearse: [rank 1] interrupted\n"),
        (Terminated(), 143, "rehearse: [rank 1] terminated\n"),
        (SystemExit(7), 7, "rehearse: [rank 1] exit: 7\n"),
        (SystemExit("no"), 1, "rehearse: [rank 1] exit: no\n"),
    ],
)
def test_a_rank_with_peers_says_one_line_and_aborts(capfd, error, exit_code, said):
    communicator = Recorder()
    with pytest.raises(type(error)):
        fail(communicator, error)
    assert communicator.exit_code == exit_code
    assert capfd.readouterr().err == said


def test_a_bug_shows_its_traceback(capfd):
    communicator = Recorder()
    with pytest.raises(ZeroDivisionError):
        fail(communicator, ZeroDivisionError("oops"))
    said = capfd.readouterr().err
    assert communicator.exit_code == 1
    assert said.startswith("rehearse: [rank 1] internal error:\nTraceback")
    assert said.endswith("ZeroDivisionError: oops\n")


@pytest.mark.parametrize("error", [DataError("x"), KeyboardInterrupt(), ValueError("x"), SystemExit(3)])
def test_a_rank_alone_raises_as_usual(capfd, error):
    communicator = Recorder(num_ranks=1)
    with pytest.raises(type(error)):
        fail(communicator, error)
    assert communicator.exit_code is None
    assert capfd.readouterr().err == ""


def test_success_and_a_plain_exit_are_no_failures():
    communicator = Recorder()
    with abort_on_error(communicator):
        pass
    with pytest.raises(SystemExit):
        fail(communicator, SystemExit(0))
    assert communicator.exit_code is None


def test_ending_flushes_and_runs_no_exit_handler():
    program = (
        "import atexit; from rehearse.core.failure import end_process; "
        "atexit.register(print, 'handler'); print('printed', end=''); end_process(6)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (6, "printed")
