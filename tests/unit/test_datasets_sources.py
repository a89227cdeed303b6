"""What a user has is found, verified and named when it will not do."""

import gzip
import hashlib
import shutil
from pathlib import Path

import pytest

import rehearse.core.catalogue
from rehearse.core.catalogue import Archive, Entry
from rehearse.core.errors import DataError
from support import datasets


@pytest.fixture
def source(tmp_path):
    return datasets.fake_source("image_folder", tmp_path / "source")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "staged"


def zip_mnist(folder):
    """Gzipped idx files under their official names."""
    datasets.fake_source("mnist", folder)
    for path in list(folder.iterdir()):
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


@pytest.fixture
def known_mnist(tmp_path, monkeypatch):
    """Official-looking MNIST archives in ``source``, and a catalogue that knows their checksums."""
    folder = tmp_path / "source"
    zip_mnist(folder)
    archives = tuple(
        Archive(path.name, (), hashlib.sha256(path.read_bytes()).hexdigest(), "", path.stat().st_size)
        for path in sorted(folder.iterdir())
    )
    known = Entry("mnist", "1998", "https://example.org", "none", archives, "")
    monkeypatch.setattr(rehearse.core.catalogue, "catalogue", lambda: {"mnist": known})
    return folder


def test_official_archives_are_verified(known_mnist, target):
    manifest = datasets.stage("mnist", target, known_mnist.parent)
    assert manifest.verified
    assert manifest.source.startswith("official archives t10k-images-idx3-ubyte.gz, ")


def test_official_archive_with_a_flipped_byte_is_refused(known_mnist, target):
    path = known_mnist / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: wrong checksum: sha256 is .* expected"):
        datasets.stage("mnist", target, known_mnist)
    assert datasets.nothing_staged(target)


def test_missing_official_archive_is_named(known_mnist, target):
    (known_mnist / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"; t10k-labels-idx1-ubyte\.gz missing"):
        datasets.stage("mnist", target, known_mnist)


def test_two_possible_archives_are_not_guessed_between(tmp_path, target):
    for name in ("omniglot-a.tar", "omniglot-b.tar"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"name one of these archives itself: .*omniglot-a\.tar, .*omniglot-b\.tar"):
        datasets.stage("omniglot", target, tmp_path)


def test_given_checksum_is_compared_and_recorded(tmp_path, source, target):
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", source))
    with pytest.raises(DataError, match="wrong checksum"):
        datasets.stage("image_folder", target, archive, sha256="0" * 64)
    assert datasets.nothing_staged(target)
    right = hashlib.sha256(archive.read_bytes()).hexdigest().upper()
    assert datasets.stage("image_folder", target, archive, sha256=right).verified
    with pytest.raises(DataError, match="only be given for a --source that is one file"):
        datasets.stage("image_folder", target, source, sha256=right, tree="other")


def test_data_that_only_its_owners_hand_out_is_explained(target):
    with pytest.raises(DataError, match=r"'imagenet' cannot be downloaded .* get it from https://image-net.org"):
        datasets.stage("imagenet", target)


def test_wrong_number_of_classes_is_refused(source, target):
    with pytest.raises(DataError, match=r"3 classes, but 'imagenet100' has 100; .* 'image_folder'"):
        datasets.stage("imagenet100", target, source)
    assert datasets.nothing_staged(target)


def test_classes_must_agree_between_splits(source, target):
    (source / "val" / "n00000002").rename(source / "val" / "zebra")
    with pytest.raises(DataError, match="val has classes that train has not: zebra"):
        datasets.stage("image_folder", target, source)
    shutil.rmtree(source / "val" / "zebra")
    with pytest.raises(DataError, match="val lacks 1 classes of train: n00000002"):
        datasets.stage("image_folder", target, source)
    (source / "val" / "n00000002").mkdir()
    with pytest.raises(DataError, match="n00000002"):
        datasets.stage("image_folder", target, source)
    assert datasets.nothing_staged(target)


@pytest.mark.parametrize("damage", [b"", b"not an image", None], ids=["empty", "text", "cut"])
def test_unreadable_image_is_named_and_nothing_is_left(source, target, damage):
    path = source / "val" / "n00000001" / "0.png"
    path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    with pytest.raises(DataError, match=rf"^{source}/val/n00000001/0\.png: unreadable image .*; replace or delete it"):
        datasets.stage("image_folder", target, source)
    assert datasets.nothing_staged(target)


def test_hidden_files_are_no_images(source, target):
    (source / "train" / "n00000001" / "._0.png").write_bytes(b"resource fork")
    (source / "train" / ".ipynb_checkpoints").mkdir()
    assert datasets.stage("image_folder", target, source).num_train == 3
