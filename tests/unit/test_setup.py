"""tools/setup.sh against stand-ins for Python, pip, Horovod's build and the doctor: which steps run, and when."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60
# What setup.sh takes from the system; nothing else is on its PATH.
TOOLS = ("awk", "bash", "cat", "chmod", "cut", "dirname", "find", "flock", "grep", "mkdir", "rm", "sed", "sha256sum")
TOOLS += ("env", "sleep", "sort", "tail", "touch", "xargs")
PROGRAMS = ("g++", "cmake", "make", "git", "mpirun", "mpicc")

# Answers the questions of setup.sh, makes environments that hold copies of itself, and notes every pip call.
PYTHON = """#!/usr/bin/env bash
case "$*" in
  "-V") echo Python 3.11.7 ;;
  *_base_executable*) [[ ! -e {broken} ]] && echo {stub} ;;
  "-m venv "*) mkdir -p "$3/bin" && cat {stub} >"$3/bin/python" && cat {doctor} >"$3/bin/rehearse"
    chmod +x "$3/bin/python" "$3/bin/rehearse" && echo venv >>{calls} ;;
  "-m pip install "*)
    shift 3
    echo "$*" >>{calls}
    echo "collecting things"
    if [[ -e {hang} ]]; then touch {hang}.reached; sleep 30; fi
    if [[ -e {failing} && "$*" == *"$(<{failing})"* ]]; then echo "no route to the index"; exit 1; fi ;;
esac
"""
HOROVOD = """#!/usr/bin/env bash
[[ $1 != --key ]] || {{ cat {horovod_key}; exit; }}
echo "building horovod" >>{calls}
echo cache/horovod.whl
"""
DOCTOR = """#!/usr/bin/env bash
echo "rehearse $*" >>{calls}
exit "$(cat {verdict})"
"""


class Sandbox:
    """A copy of what setup.sh reads, on a machine of stand-ins."""

    def __init__(self, folder):
        self.repo, self.bin = folder / "repo", folder / "bin"
        self.notes = {name: folder / name for name in ("calls", "failing", "hang", "broken", "horovod_key", "verdict")}
        for name in ("tools", "requirements"):
            shutil.copytree(ROOT / name, self.repo / name)
        shutil.copy(ROOT / "pyproject.toml", self.repo)
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        for program in PROGRAMS:
            self.script(self.bin / program, "#!/bin/sh\n")
        names = {**self.notes, "stub": self.bin / "python3.11", "doctor": folder / "doctor"}
        self.script(self.bin / "python3.11", PYTHON.format(**names))
        self.script(folder / "doctor", DOCTOR.format(**names))
        self.script(self.repo / "tools/horovod_wheel.sh", HOROVOD.format(**names))
        self.user(1000)
        self.note("horovod_key", "horovod-1")
        self.note("verdict", "0")
        self.note("calls", "")

    @staticmethod
    def script(path, text):
        path.write_text(text)
        path.chmod(0o755)

    def note(self, name, text):
        self.notes[name].write_text(text)

    def user(self, number):
        self.script(self.bin / "id", f"#!/bin/sh\necho {number}\n")

    def start(self):
        return subprocess.Popen(
            [self.repo / "tools/setup.sh"],
            env={"PATH": str(self.bin), "HOME": str(self.repo)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def setup(self):
        """Run setup.sh: (exit code, what it printed, what it called)."""
        self.note("calls", "")
        process = self.start()
        printed, _ = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, printed, self.calls()

    def calls(self):
        return self.notes["calls"].read_text().splitlines()

    def touch(self, name):
        path = self.repo / name
        path.write_text(path.read_text() + "\n# changed\n")


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


@pytest.fixture
def ready(sandbox):
    code, printed, _ = sandbox.setup()
    assert code == 0, printed
    return sandbox


def test_everything_is_installed_in_order_and_then_checked(sandbox):
    code, printed, calls = sandbox.setup()
    assert code == 0, printed
    assert calls == [
        "venv",
        "--no-deps --require-hashes -r requirements/lock.txt",
        "-r requirements/torch.txt",
        "--no-deps --no-build-isolation --require-hashes -r requirements/nodeps.txt",
        "building horovod",
        "--no-deps --force-reinstall cache/horovod.whl",
        "--no-deps --no-build-isolation --editable .",
        "rehearse doctor",
    ]
    assert "collecting things" not in printed
    assert "collecting things" in (sandbox.repo / ".venv/setup.log").read_text()


def test_nothing_happens_when_nothing_changed(ready):
    start_s = time.monotonic()
    assert ready.setup() == (0, "", [])
    assert time.monotonic() - start_s < 5


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("requirements/lock.txt", ["lock.txt", "torch.txt", "nodeps.txt"]),
        ("requirements/torch.txt", ["torch.txt", "nodeps.txt"]),
        ("requirements/nodeps.txt", ["nodeps.txt"]),
        ("tools/setup.sh", []),
    ],
)
def test_a_changed_file_repeats_what_depends_on_it(ready, name, steps):
    ready.touch(name)
    code, _, calls = ready.setup()
    assert code == 0
    assert [Path(call).name for call in calls[:-1]] == steps
    assert calls[-1] == "rehearse doctor"


def test_a_changed_torch_rebuilds_horovod(ready):
    ready.touch("requirements/torch.txt")
    ready.note("horovod_key", "horovod-2")
    assert "building horovod" in ready.setup()[2]


def test_linter_settings_install_nothing(ready):
    path = ready.repo / "pyproject.toml"
    path.write_text(path.read_text().replace("line-length = 120", "line-length = 100"))
    assert ready.setup() == (0, "", [])


def test_a_new_entry_point_installs_the_package_again(ready):
    path = ready.repo / "pyproject.toml"
    path.write_text(path.read_text().replace("[project.scripts]\n", '[project.scripts]\nextra = "rehearse:x"\n'))
    assert ready.setup()[2] == ["--no-deps --no-build-isolation --editable .", "rehearse doctor"]


def test_the_engine_is_built_where_its_sources_are(ready):
    (ready.repo / "neomem").mkdir()
    (ready.repo / "neomem/pyproject.toml").write_text("[project]\n")
    engine = ["--no-deps --no-build-isolation ./neomem", "rehearse doctor"]
    assert ready.setup()[2] == engine
    (ready.repo / "neomem/arena.cpp").write_text("int x;\n")
    assert ready.setup()[2] == engine
    (ready.repo / "neomem/tests/.pytest_cache").mkdir(parents=True)
    (ready.repo / "neomem/tests/.pytest_cache/lastfailed").write_text("{}\n")
    (ready.repo / "neomem/tests/test_arena.cpp").write_text("int x;\n")
    assert ready.setup()[2] == [], "the build does not read tests"
    assert ready.setup()[2] == []


def test_a_lost_interpreter_is_replaced(ready):
    (ready.repo / ".venv/bin/python").unlink()
    assert "venv" in ready.setup()[2]


def test_an_environment_that_was_moved_is_made_anew(ready):
    moved = ready.repo.with_name("moved")
    ready.repo.rename(moved)
    ready.repo = moved
    (moved / ".venv/old").touch()
    code, printed, calls = ready.setup()
    assert code == 0
    assert "afresh" in printed
    assert calls[0] == "venv"
    assert not (moved / ".venv/old").exists()


def test_a_failure_shows_the_log_and_what_to_do_and_keeps_finished_steps(sandbox):
    sandbox.note("failing", "torch.txt")
    code, printed, _ = sandbox.setup()
    assert code == 1
    assert "no route to the index" in printed
    assert "is the package index reachable?" in printed
    assert ".venv/setup.log" in printed
    sandbox.notes["failing"].unlink()
    code, _, calls = sandbox.setup()
    assert code == 0
    assert calls[0] == "-r requirements/torch.txt"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_installation_starts_afresh(sandbox, how):
    sandbox.note("hang", "")
    process = sandbox.start()
    deadline_s = time.monotonic() + TIMEOUT_S
    while not sandbox.notes["hang"].with_name("hang.reached").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    os.killpg(process.pid, how)
    printed, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == (-how if how is signal.SIGKILL else 130), printed
    sandbox.notes["hang"].unlink()
    code, printed, calls = sandbox.setup()
    assert code == 0
    assert "afresh" in printed
    assert calls[-1] == "rehearse doctor"


def test_two_at_once_do_the_work_once(sandbox):
    first, second = sandbox.start(), sandbox.start()
    printed = [process.communicate(timeout=TIMEOUT_S)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert sandbox.calls().count("building horovod") == 1
    assert sum("waiting for another make" in text for text in printed) == 1


def test_an_ordinary_user_gets_one_command_for_what_is_missing(sandbox):
    for program in ("g++", "mpirun"):
        (sandbox.bin / program).unlink()
    code, printed, calls = sandbox.setup()
    assert code == 1
    assert "sudo apt-get install -y --no-install-recommends g++ openmpi-bin\n" in printed
    assert calls == []


def test_root_gets_missing_packages_installed(sandbox):
    sandbox.user(0)
    (sandbox.bin / "mpicc").unlink()
    apt = '#!/bin/sh\necho "apt-get $*" >>' + str(sandbox.notes["calls"]) + "\n"
    sandbox.script(sandbox.bin / "apt-get", apt)
    code, _, calls = sandbox.setup()
    assert code == 0
    assert calls[:2] == ["apt-get update", "apt-get install -y --no-install-recommends libopenmpi-dev shellcheck"]


def test_a_missing_python_is_asked_for(sandbox):
    sandbox.note("broken", "")
    code, printed, _ = sandbox.setup()
    assert code == 1
    assert "python3.11 python3.11-venv python3.11-dev" in printed


def test_an_unhappy_doctor_fails_the_setup_and_is_asked_again(sandbox):
    sandbox.note("verdict", "3")
    assert sandbox.setup()[0] == 3
    sandbox.note("verdict", "0")
    assert sandbox.setup()[0::2] == (0, ["rehearse doctor"])
