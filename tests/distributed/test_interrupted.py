"""Ctrl-C under a launcher, which hands it on to the ranks in its own way."""

import os
import signal
import subprocess
import time

import pytest

from rehearse.core.records import RunFiles, read_events
from support import cells

MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", "2"]


@pytest.mark.world_size(2)
def test_ctrl_c_under_mpirun_is_recorded(tmp_path, dataset_dir):
    config = cells.write(
        tmp_path, scaling="n1r2", training={"epochs": 500}, experiment={"communicator": {"name": "horovod"}}
    )
    process = subprocess.Popen(
        [*MPIRUN, *cells.REHEARSE, "train", str(config), "--dataset-dir", str(dataset_dir)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=cells.environment(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1"),
        process_group=0,
    )
    events = RunFiles(tmp_path).events
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and not (events.exists() and '"epoch"' in events.read_text()):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    last = list(read_events(events))[-1]
    assert last.kind == "error", stderr
    assert last.values["message"].startswith("Terminated")
    assert "Traceback" not in stderr
