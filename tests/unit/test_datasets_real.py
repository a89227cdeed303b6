"""Real data, where this machine has it: counts, labels, statistics and pixels of whole sets."""

import gzip
import hashlib
import json

import numpy as np
import pytest

from rehearse.core.errors import DataError
from rehearse.core.staging import open_dataset, staged_folder
from support import datasets

SHARED = datasets.SHARED


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """Stages a dataset once and opens it."""
    folder = tmp_path_factory.mktemp("real")

    def stage(name, source, **options):
        if not source.exists():
            pytest.skip(f"{source.name} is not on this machine: real data lies in ../shared/datasets")
        manifest = datasets.stage(name, folder, source, **options)
        section = datasets.section(name)
        return manifest, open_dataset(section, folder), staged_folder(section, folder)

    return stage


def measured(split):
    """Mean and deviation per channel of all samples, from exact histograms."""
    pixels = split.fetch(np.arange(len(split.labels)), None)
    levels = np.arange(256) / 255
    counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in pixels.swapaxes(0, 1)])
    mean = counts @ levels / counts.sum(axis=1)
    return mean, np.sqrt(counts @ levels**2 / counts.sum(axis=1) - mean**2)


def test_mnist(staged):
    manifest, dataset, _ = staged("mnist", SHARED / "MNIST")
    assert manifest.verified
    assert (manifest.num_train, manifest.num_test, manifest.num_classes) == (60_000, 10_000, 10)
    train, test = dataset.split(True), dataset.split(False)
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    mean, std = measured(train)
    np.testing.assert_allclose(mean, dataset.info.mean, atol=5e-5)
    np.testing.assert_allclose(std, dataset.info.std, atol=5e-5)


def test_cifar100_from_strips(staged):
    source = SHARED / "cifar100-webp"
    manifest, dataset, _ = staged("cifar100", source)
    assert (manifest.num_train, manifest.num_test, manifest.num_classes) == (50_000, 10_000, 100)
    index = json.loads(gzip.decompress((source / "index.json.gz").read_bytes()))
    train = dataset.split(True)
    assert (np.bincount(train.labels) == 500).all()
    assert (np.bincount(dataset.split(False).labels) == 100).all()
    for name in ("apple", "willow_tree", "worm"):
        strip = index["strips"][f"train/{name}"]
        pixels = train.fetch(np.flatnonzero(train.labels == strip["fine"]), None).transpose(0, 2, 3, 1)
        assert hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest() == strip["sha256_rgb"]
    mean, std = measured(train)
    np.testing.assert_allclose(mean, dataset.info.mean, atol=6e-5)
    np.testing.assert_allclose(std, dataset.info.std, atol=6e-5)


@pytest.mark.slow
def test_omniglot(staged):
    manifest, dataset, _ = staged("omniglot", SHARED / "omniglot-py.tar.xz")
    assert (manifest.num_train, manifest.num_test, manifest.num_classes) == (24_345, 8_115, 1_623)
    assert (np.bincount(dataset.split(True).labels) == 15).all()
    assert (np.bincount(dataset.split(False).labels) == 5).all()
    mean, std = measured(dataset.split(True))
    np.testing.assert_allclose(mean, dataset.info.mean, atol=5e-5)
    np.testing.assert_allclose(std, dataset.info.std, atol=5e-5)


def test_caltech101(staged):
    manifest, dataset, folder = staged("caltech101", SHARED / "caltech101-20x60.tar.gz")
    assert (manifest.num_train, manifest.num_test, manifest.num_classes) == (960, 240, 20)
    assert (np.bincount(dataset.split(True).labels) == 48).all()
    assert manifest.trees[0].num_files == 1200
    samples = dataset.split(True).fetch(range(0, 960, 60), 1)
    assert samples.shape == (16, 3, 224, 224)
    assert samples.std() > 40  # photos, not blanks
    assert (folder / "101_ObjectCategories" / "Leopards" / "image_0001.jpg").is_file()


@pytest.mark.slow
def test_tinyimagenet(staged):
    checksum = "863b593d290e1169dfa1f36161ad28b27bbcb3020bc981d75daa10737b5c1938"
    archive = SHARED / "tiny-imagenet-200-first20.tar.gz"
    manifest, dataset, _ = staged("tinyimagenet", archive, sha256=checksum)
    assert manifest.verified
    assert (manifest.num_train, manifest.num_test, manifest.num_classes) == (10_000, 1_000, 20)
    assert (np.bincount(dataset.split(True).labels) == 500).all()
    assert (np.bincount(dataset.split(False).labels) == 50).all()
    mean, std = measured(dataset.split(True))
    np.testing.assert_allclose(mean, dataset.info.mean, atol=0.03)  # a tenth of the classes
    np.testing.assert_allclose(std, dataset.info.std, atol=0.01)


def test_real_photos_as_image_folder_survive_a_damaged_one(staged, tmp_path):
    """The tree of the Caltech photos, staged again as an image folder, then with one photo cut short."""
    _, _, folder = staged("caltech101", SHARED / "caltech101-20x60.tar.gz")
    for split, numbers in (("train", range(1, 5)), ("test", range(5, 7))):
        for name in ("Leopards", "brain"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in numbers:
                photo = folder / "101_ObjectCategories" / name / f"image_{number:04d}.jpg"
                (tmp_path / split / name / photo.name).write_bytes(photo.read_bytes())
    manifest = datasets.stage("image_folder", tmp_path / "staged", tmp_path)
    assert (manifest.num_train, manifest.num_test, manifest.num_classes) == (8, 4, 2)
    photo = tmp_path / "train" / "brain" / "image_0002.jpg"
    photo.write_bytes(photo.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"image_0002\.jpg: unreadable image"):
        datasets.stage("image_folder", tmp_path / "staged", tmp_path, tree="again")
