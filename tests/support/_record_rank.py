"""Runs one rank: keeps its output and exit code in files, passes signals on, ends as it ended.

Usage: _record_rank.py FOLDER RANK_VARIABLE COMMAND...
"""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1


def main():
    folder, variable, *command = sys.argv[1:]
    base = Path(folder) / f"rank-{os.environ[variable]}"
    child = os.fork()
    if child == 0:
        # A launcher that kills this process must not leave the rank behind.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for stream, suffix in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(f"{base}{suffix}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
        os.execvp(command[0], command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: os.kill(child, received))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    Path(f"{base}.exit").write_text(f"{code} {time.time()}")
    if code < 0:
        if -code in (signal.SIGTERM, signal.SIGINT):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
