"""Stagings that are killed, run at the same time, or are started from the command line."""

import hashlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rehearse.core.staging import read_manifest, staged_folder
from rehearse.datasets._staging import find_staged, verify_dataset
from support import cells, datasets


@pytest.fixture
def target(tmp_path):
    return tmp_path / "staged"


SLOW = """
import sys, time
from pathlib import Path
from rehearse.core.config import DatasetSection
from rehearse.datasets import _staging, digits

stage = digits.Digits.stage.__func__

def slow(cls, *arguments):
    origin = stage(cls, *arguments)
    print("files written", flush=True)
    time.sleep(float(sys.argv[2]))
    return origin

digits.Digits.stage = classmethod(slow)
section = DatasetSection(name="digits")
manifest = _staging.stage_dataset(section, Path(sys.argv[1]), None, lambda what, done, total: None)
print(manifest.num_train, flush=True)
"""


def start_slow(target, pause_s):
    command = [sys.executable, "-c", SLOW, str(target), str(pause_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_staging_looks_unstaged_and_the_next_one_clears_up(target, number):
    with start_slow(target, 60) as process:
        assert process.stdout.readline() == "files written\n"
        process.send_signal(number)
        process.wait(timeout=10)
    section = datasets.section("digits")
    assert not staged_folder(section, target).exists()
    assert find_staged(section, target) is None
    assert datasets.stage("digits", target).num_train == 1438
    assert sorted(path.name for path in (target / "digits").iterdir()) == [".1998.lock", "1998"]


def test_two_stagings_at_once_take_turns(target):
    with start_slow(target, 1) as first, start_slow(target, 1) as second:
        outputs = [process.communicate(timeout=60)[0].split("\n") for process in (first, second)]
        assert [first.returncode, second.returncode] == [0, 0]
    assert sorted(outputs, key=len) == [["1438", ""], ["files written", "1438", ""]]
    verify_dataset(datasets.section("digits"), target, datasets.ignore)


def wait_for(condition, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


DOWNLOAD = """
import sys
from pathlib import Path
import rehearse.core.catalogue as catalogue
from rehearse.core.config import DatasetSection
from rehearse.datasets._staging import stage_dataset
url, sha256, size, folder = sys.argv[1:]
archive = catalogue.Archive("tiny-imagenet-200.zip", (url,), sha256, "", int(size))
known = catalogue.Entry("tinyimagenet", "200", "", "none", (archive,), "")
catalogue.catalogue = lambda: {"tinyimagenet": known}
stage_dataset(DatasetSection(name="tinyimagenet"), Path(folder), None, lambda what, done, total: None)
"""


def test_download_killed_in_the_middle_is_continued_by_the_next_staging(tmp_path, target, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    tree = datasets.fake_source("tinyimagenet", tmp_path / "tiny-imagenet-200")
    content = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, tree.name)).read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    partial = target / "tinyimagenet" / ".downloads" / "tiny-imagenet-200.zip.partial"
    with datasets.serve({"tiny.zip": content}) as server:
        server.plan = ["stall"]
        command = [sys.executable, "-c", DOWNLOAD, server.url("tiny.zip"), checksum, str(len(content)), target]
        with subprocess.Popen(command) as process:
            wait_for(lambda: partial.exists() and partial.stat().st_size >= len(content) // 2)
            process.kill()
        assert not (target / "tinyimagenet" / "200").exists()
        subprocess.run(command, check=True, timeout=60)
        assert server.ranges == [None, f"bytes={len(content) // 2}-"]
    manifest = read_manifest(datasets.section("tinyimagenet"), target)
    assert manifest.verified
    assert manifest.source == server.url("tiny.zip")
    assert sorted(path.name for path in (target / "tinyimagenet").iterdir()) == [".200.lock", "200"]


def test_command_line_stages_once_verifies_and_lists(tmp_path):
    arguments = ("digits", "--dataset-dir", str(tmp_path / "staged"))
    first, second = cells.rehearse("stage", *arguments), cells.rehearse("stage", *arguments)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert f"digits: staged in {tmp_path / 'staged' / 'digits' / '1998'}: 1438 training and 359 test" in first.stdout
    assert "digits: already staged in" in second.stdout
    assert second.stderr == ""
    verified = cells.rehearse("stage", *arguments, "--verify")
    assert verified.returncode == 0
    assert "digits: verified in" in verified.stdout
    listed = cells.rehearse("stage", "--list")
    assert listed.returncode == 0
    assert "cifar100          169.0 MB  none stated" in listed.stdout
    assert "https://www.cs.toronto.edu/~kriz/cifar.html" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("digitz",), 2, "unknown dataset 'digitz'; did you mean 'digits'?"),
        (("image_folder", "--option", "image_sise=64"), 2, "unknown key 'image_sise'; did you mean 'image_size'?"),
        (("image_folder", "--option", "image_size=big"), 2, "image_size: "),
        (("image_folder", "--option", "image_size"), 2, "is not KEY=VALUE"),
        ((), 2, "name a dataset, or print all with --list"),
        (("mnist", "--source", "nowhere"), 4, "nowhere: no such file or folder"),
        (("digits", "--verify"), 4, "dataset 'digits' is not staged"),
    ],
)
def test_command_line_explains_mistakes(tmp_path, arguments, code, message):
    done = cells.rehearse("stage", *arguments, "--dataset-dir", str(tmp_path))
    assert done.returncode == code
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
