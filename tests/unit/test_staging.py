"""Staging ends with a complete, described dataset or with nothing at all."""

import errno
import fcntl
import os
import resource
import shutil
import subprocess

import numpy as np
import pytest

import rehearse.core.catalogue
from rehearse.core.errors import DataError, PluginError
from rehearse.core.staging import MANIFEST, open_dataset, stage_command, staged_folder
from rehearse.datasets._staging import verify_dataset
from support import cells, datasets


@pytest.fixture
def source(tmp_path):
    return datasets.fake_source("image_folder", tmp_path / "source")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "staged"


def test_dataset_that_is_not_staged_names_the_command(target):
    section = datasets.section("image_folder", tree="my-tree", image_size=64)
    command = f"rehearse stage image_folder --dataset-dir {target} --option tree=my-tree --option image_size=64"
    assert stage_command(section, target) == command
    with pytest.raises(DataError, match=f"'image_folder' is not staged in .*; run: {command}") as caught:
        open_dataset(section, target)
    assert caught.value.exit_code == 4


def test_verify_finds_a_changed_file(target):
    datasets.stage("digits", target)
    section = datasets.section("digits")
    path = staged_folder(section, target) / "test_images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert open_dataset(section, target)  # sizes are right: opening does not read everything
    with pytest.raises(DataError, match=r"changed since it was staged: test_images\.npy; delete the folder"):
        verify_dataset(section, target, datasets.ignore)


def test_verify_finds_changed_and_added_files_of_a_tree(source, target):
    datasets.stage("image_folder", target, source)
    section = datasets.section("image_folder")
    datasets.write_image(source / "train" / "n00000000" / "new.png")
    with pytest.raises(DataError, match=r"changed since it was staged: train;"):
        verify_dataset(section, target, datasets.ignore)
    (staged_folder(section, target) / "extra").write_text("x")
    with pytest.raises(DataError, match=r"changed since it was staged: extra, train;"):
        verify_dataset(section, target, datasets.ignore)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "train_images.npy").unlink(), r"train_images\.npy is missing"),
        (lambda folder: (folder / "train_images.npy").write_bytes(b"x"), r"has 1 bytes instead of \d+"),
        (lambda folder: (folder / MANIFEST).write_text("{"), r"MANIFEST\.json: damaged, or of another version"),
        (lambda folder: (folder / MANIFEST).write_text('{"format": 9}'), "format: .*9"),
        (lambda folder: (folder / MANIFEST).unlink(), "is not staged"),
    ],
)
def test_damaged_staging_is_noticed_and_can_be_replaced(target, damage, message):
    datasets.stage("digits", target)
    section = datasets.section("digits")
    damage(staged_folder(section, target))
    with pytest.raises(DataError, match=rf"(?s){message}.*run: rehearse stage digits"):
        open_dataset(section, target)
    datasets.stage("digits", target)
    assert open_dataset(section, target).info.num_classes == 10


def test_tree_that_moved_is_noticed(source, target):
    datasets.stage("image_folder", target, source)
    source.rename(source.with_name("elsewhere"))
    with pytest.raises(DataError, match=r"train is missing \(it was a link to .*source/train\)"):
        open_dataset(datasets.section("image_folder"), target)


def test_folder_that_was_not_staged_is_never_replaced(target):
    own = target / "digits" / "1998"
    own.mkdir(parents=True)
    (own / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="exists, but was not staged"):
        datasets.stage("digits", target)
    assert (own / "thesis.txt").read_text() == "years of work"


def test_empty_folder_that_a_workflow_made_is_filled_without_a_word(target, caplog):
    (target / "digits" / "1998").mkdir(parents=True)
    datasets.stage("digits", target)
    assert caplog.text == ""
    assert open_dataset(datasets.section("digits"), target).info.num_classes == 10


def test_dataset_without_a_catalogue_row_is_a_broken_plugin(monkeypatch, target):
    monkeypatch.setattr(rehearse.core.catalogue, "catalogue", dict)
    with pytest.raises(PluginError, match="'digits' has no row"):
        datasets.stage("digits", target)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_explained_and_nothing_is_left(target, monkeypatch, code):
    def full(path, array):
        path.write_bytes(b"the beginning")
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match="the disk is full: free some space or choose another --dataset-dir"):
        datasets.stage("digits", target)
    assert datasets.nothing_staged(target)


def test_file_that_may_not_grow_is_like_a_full_disk(target):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    command = [*cells.REHEARSE, "stage", "digits", "--dataset-dir", str(target)]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4, done.stderr
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert datasets.nothing_staged(target)


def test_download_that_cannot_fit_is_not_begun(target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(DataError, match="170 MB are needed for the download of 'cifar10', 0 MB are free"):
        datasets.stage("cifar10", target)


def test_dataset_dir_that_is_a_file_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file.*: (Not a directory|File exists); check the path"):
        datasets.stage("digits", tmp_path / "file")


def test_file_system_without_locks_is_explained(target, monkeypatch):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DataError, match="this file system has no locks"):
        datasets.stage("digits", target)


def test_interrupt_leaves_nothing(source, target):
    def interrupt(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datasets.stage("image_folder", target, source, progress=interrupt)
    assert datasets.nothing_staged(target)
