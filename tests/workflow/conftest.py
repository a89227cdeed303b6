import os

import pytest

from support.workflows import Workflow


@pytest.fixture
def workflow(tmp_path):
    return Workflow(tmp_path)


@pytest.fixture
def fake_programs(tmp_path):
    """Writes shell scripts under the given names; returns an environment in which they are found first."""

    def write(**scripts):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, text in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            (folder / name).chmod(0o755)
        return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    return write
