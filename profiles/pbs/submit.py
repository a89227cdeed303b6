#!/usr/bin/env python3
"""Submit a job script with qsub and print the job's id; needs only the standard library of Python 3.7."""

import argparse
import subprocess
import sys
from pathlib import Path


def parse(arguments):
    """The command line as (options, arguments for qsub, job script)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--ranks-per-node", type=int, required=True)
    parser.add_argument("--cpus-per-rank", type=int, required=True)
    parser.add_argument("--gpus-per-rank", type=int, required=True)
    parser.add_argument("--mem-mb", type=int, required=True, help="per node")
    parser.add_argument("--runtime-min", type=int, required=True)
    parser.add_argument("--log-dir", type=Path, required=True)
    parser.add_argument("rest", nargs="+", help="further arguments of qsub, then the job script")
    options = parser.parse_args(arguments)
    return options, options.rest[:-1], options.rest[-1]


def qsub_command(options, extra, script):
    """The qsub line: a chunk per node, scattered over nodes, never restarted behind Snakemake's back."""
    ranks = options.ranks_per_node
    chunk = f"ncpus={ranks * options.cpus_per_rank}:mpiprocs={ranks}:mem={options.mem_mb}mb"
    if options.gpus_per_rank:
        chunk += f":ngpus={ranks * options.gpus_per_rank}"
    hours, minutes = divmod(options.runtime_min, 60)
    return [
        *("qsub", "-V", "-N", options.name[:15]),  # PBS refuses longer names
        *(
            "-l",
            f"select={options.nodes}:{chunk}",
            "-l",
            "place=vscatter",
            "-l",
            f"walltime={hours:02}:{minutes:02}:00",
        ),
        *("-r", "n", "-j", "oe", "-o", f"{options.log_dir}/"),
        *extra,
        script,
    ]


def main():
    """Submit; what qsub prints on standard output is the id."""
    options, extra, script = parse(sys.argv[1:])
    options.log_dir.mkdir(parents=True, exist_ok=True)
    return subprocess.call(qsub_command(options, extra, script))


if __name__ == "__main__":
    sys.exit(main())
