"""The engine's own tests: its C++ suite, built where sources changed, and those of its Python package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "neomem"
PRESET = "release"
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def run(*command: str | Path, cwd: Path = ENGINE) -> str:
    """Output of a command, which becomes the failure's message if it fails."""
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_cpp_suite():
    missing = [tool for tool in ("cmake", "ninja", "g++") if shutil.which(tool, path=ENVIRONMENT["PATH"]) is None]
    assert not missing, f"not here: {', '.join(missing)}; Debian: apt-get install cmake ninja-build g++"
    configured = run("cmake", "--preset", PRESET)
    assert "Catch2 was not found" not in configured, "the C++ tests need Catch2; Debian: apt-get install catch2"
    run("nice", "cmake", "--build", "--preset", PRESET, "--target", "neomem_tests")
    assert "All tests passed" in run(ENGINE / "build" / PRESET / "tests" / "neomem_tests")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_python_suite():
    run(sys.executable, "-m", "pytest", "-q", cwd=ENGINE / "tests" / "python")
