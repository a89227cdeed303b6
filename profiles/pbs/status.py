#!/usr/bin/env python3
"""Print running, success or failed for a PBS job; needs only the standard library of Python 3.7."""

import json
import subprocess
import sys

# Of the server's error 15001, unknown job, 153 is what fits into an exit code.
UNKNOWN_JOB = 153


def status_of(exit_code, output):
    """What qstat's answer means; a server that does not answer is asked again later."""
    if exit_code == UNKNOWN_JOB:
        return "failed"
    try:
        (job,) = json.loads(output)["Jobs"].values()
    except (ValueError, KeyError):
        return "running"
    if job["job_state"] not in ("F", "X"):
        return "running"
    return "success" if job.get("Exit_status") == 0 else "failed"


def main():
    """Ask the server about the job that the command line names."""
    asked = subprocess.run(["qstat", "-x", "-f", "-F", "json", sys.argv[1]], stdout=subprocess.PIPE)
    sys.stdout.write(status_of(asked.returncode, asked.stdout) + "\n")


if __name__ == "__main__":
    main()
