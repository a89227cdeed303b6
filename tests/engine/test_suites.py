"""The engine's C++ tests, as built for use and under sanitizers.

`make test` runs those of its Python package as well. A build takes minutes, so what passed is noted
outside of the clone, by a key of all sources and of the compiler.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "neomem"
CACHE = Path(os.environ.get("REHEARSE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "rehearse")
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def run(*command: str | Path) -> str:
    """Output of a command, which becomes the failure's message if it fails."""
    done = subprocess.run(command, cwd=ENGINE, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def note(preset: str) -> Path:
    """Where it is noted that the suite passed with these sources, this build and this compiler."""
    files = (
        ENGINE / name
        for name in run(
            "git", "ls-files", "CMake*", "include", "src", "tests/*.cpp", "tests/*.hpp", "tests/CMake*"
        ).split()
    )
    key = hashlib.sha256(run("g++", "--version").encode() + Path(__file__).read_bytes())
    for path in files:
        key.update(path.name.encode() + path.read_bytes())
    return CACHE.expanduser() / "checks" / f"neomem-{preset}-{key.hexdigest()[:16]}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("preset", ["release", "asan", "tsan"])
def test_cpp_suite(preset):
    missing = [tool for tool in ("cmake", "ninja", "g++") if shutil.which(tool, path=ENVIRONMENT["PATH"]) is None]
    assert not missing, f"not here: {', '.join(missing)}; Debian: apt-get install cmake ninja-build g++"
    passed = note(preset)
    if passed.exists():
        return
    configured = run("cmake", "--preset", preset)
    assert "Catch2 was not found" not in configured, "the C++ tests need Catch2; Debian: apt-get install catch2"
    run("nice", "cmake", "--build", "--preset", preset, "--target", "neomem_tests")
    assert "All tests passed" in run(ENGINE / "build" / preset / "tests" / "neomem_tests")
    passed.parent.mkdir(parents=True, exist_ok=True)
    passed.touch()
