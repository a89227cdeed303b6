"""What each fixed-size dataset reads from its official files, and what it refuses."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from rehearse.core.errors import DataError
from rehearse.core.staging import open_dataset
from support import datasets


def opened(name, dataset_dir):
    return open_dataset(datasets.section(name), dataset_dir)


def test_digits_are_whole_and_divided_for_ever(tmp_path):
    from sklearn.datasets import load_digits

    datasets.stage("digits", tmp_path)
    train, test = (opened("digits", tmp_path).split(which) for which in (True, False))
    assert (len(train.labels), len(test.labels)) == (1438, 359)
    assert np.bincount(test.labels).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert hashlib.sha256(test.fetch(range(359), None).tobytes()).hexdigest()[:16] == "97f5bbf847b3ed8c"
    pixels = np.concatenate([split.fetch(range(len(split.labels)), None) for split in (train, test)])
    assert sorted(map(bytes, pixels)) == sorted(map(bytes, (load_digits().images * 255 // 16).astype(np.uint8)))
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_digits_statistics_are_measured(tmp_path):
    datasets.stage("digits", tmp_path)
    dataset = opened("digits", tmp_path)
    train = dataset.split(True)
    pixels = train.fetch(range(len(train.labels)), None) / 255
    np.testing.assert_allclose(pixels.mean(), dataset.info.mean[0], atol=5e-5)
    np.testing.assert_allclose(pixels.std(), dataset.info.std[0], atol=5e-5)


def test_digits_take_no_source(tmp_path):
    with pytest.raises(DataError, match="comes with scikit-learn; stage it without --source"):
        datasets.stage("digits", tmp_path / "staged", tmp_path)


def test_digits_of_another_library_are_refused(tmp_path, monkeypatch):
    import sklearn.datasets

    altered = sklearn.datasets.load_digits()
    altered.images[0, 0, 0] += 1
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: altered)
    with pytest.raises(DataError, match="reinstall scikit-learn"):
        datasets.stage("digits", tmp_path)


def test_mnist_keeps_pixels_labels_and_order(tmp_path):
    datasets.write_mnist(tmp_path)
    datasets.stage("mnist", tmp_path / "staged", tmp_path)
    split = opened("mnist", tmp_path / "staged").split(False)
    raw = np.frombuffer((tmp_path / "t10k-images-idx3-ubyte").read_bytes()[16:], np.uint8).reshape(-1, 1, 28, 28)
    np.testing.assert_array_equal(split.fetch(range(20), None), raw)
    assert split.labels.tolist() == [position % 10 for position in range(20)]


@pytest.mark.parametrize("keep", [0, 3, 10, 16, 5000])
def test_truncated_mnist_is_refused(tmp_path, keep):
    datasets.write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="train-images-idx3-ubyte, train-labels-idx1-ubyte: damaged"):
        datasets.stage("mnist", tmp_path / "staged", tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte", np.zeros(39, np.uint8), "train set: 40 images and 39 labels"),
        ("train-labels-idx1-ubyte", np.full(40, 11, np.uint8), "train set: labels 11–11 for 10 classes"),
        ("t10k-images-idx3-ubyte", np.zeros((20, 14, 14), np.uint8), "expected 28 × 28"),
        ("t10k-labels-idx1-ubyte", np.zeros((2, 2, 5), np.uint8), "damaged"),
    ],
)
def test_inconsistent_mnist_is_refused(tmp_path, name, array, message):
    datasets.write_mnist(tmp_path)
    datasets.write_idx(tmp_path / name, array)
    with pytest.raises(DataError, match=message):
        datasets.stage("mnist", tmp_path / "staged", tmp_path)


def write_pickles(tree, monkeypatch):
    """Official CIFAR-10 layout, with torchvision told the md5 of these files."""
    from rehearse.core.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from torchvision.datasets import CIFAR10

    folder = tree / CIFAR10.base_folder
    folder.mkdir(parents=True)

    def write(name, document):
        (folder / name).write_bytes(pickle.dumps(document, protocol=2))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(seed):
        data = np.random.default_rng(seed).integers(0, 256, (10, 3072), dtype=np.uint8)
        return {"data": data, "labels": list(range(10))}

    train = [write(f"data_batch_{number}", batch(number)) for number in range(1, 6)]
    test = [write("test_batch", batch(6))]
    meta = write("batches.meta", {"label_names": list(datasets.CIFAR10_CLASSES)})
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", test)
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta[1]})
    return folder


def test_cifar_pickles_are_read_by_torchvision(tmp_path, monkeypatch):
    folder = write_pickles(tmp_path / "source", monkeypatch)
    manifest = datasets.stage("cifar10", tmp_path / "staged", folder)
    assert (manifest.num_train, manifest.num_test, manifest.num_classes) == (50, 10, 10)
    split = opened("cifar10", tmp_path / "staged").split(False)
    rows = np.random.default_rng(6).integers(0, 256, (10, 3072), dtype=np.uint8)
    np.testing.assert_array_equal(split.fetch(range(10), None), rows.reshape(10, 3, 32, 32))
    assert split.labels.tolist() == list(range(10))


def test_pickle_that_is_not_the_official_one_is_never_loaded(tmp_path, monkeypatch):
    folder = write_pickles(tmp_path / "source", monkeypatch)

    class Trap:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'sprung')!r}, 'w').close()",)

    (folder / "data_batch_2").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="do not have their official md5"):
        datasets.stage("cifar10", tmp_path / "staged", tmp_path / "source")
    assert not (tmp_path / "sprung").exists()


def test_cifar_strips_hold_a_class_each(tmp_path):
    for split, count in (("train", 3), ("test", 1)):
        for label, name in enumerate(datasets.CIFAR10_CLASSES):
            datasets.write_image(tmp_path / "source" / split / f"{name}.webp", 32, 32 * count, seed=label)
    datasets.stage("cifar10", tmp_path / "staged", tmp_path / "source")
    split = opened("cifar10", tmp_path / "staged").split(True)
    assert split.labels.tolist() == [label for label in range(10) for _ in range(3)]
    strip = np.asarray(Image.open(tmp_path / "source" / "train" / "bird.webp").convert("RGB"))
    np.testing.assert_array_equal(split.fetch([7], None)[0], strip[32:64].transpose(2, 0, 1))


def test_cifar_images_of_wrong_classes_or_size_are_refused(tmp_path):
    source = datasets.fake_source("cifar10", tmp_path / "source")
    datasets.write_image(source / "train" / "zebra" / "0.png", 32, 32)
    with pytest.raises(DataError, match="11 training and 10 test classes, expected the same 10"):
        datasets.stage("cifar10", tmp_path / "staged", source)
    datasets.write_image(source / "test" / "zebra" / "0.png", 32, 32)
    with pytest.raises(DataError, match="11 training and 11 test classes, expected the same 10"):
        datasets.stage("cifar10", tmp_path / "staged", source)
    small = datasets.fake_source("cifar10", tmp_path / "small")
    datasets.write_image(small / "train" / "cat" / "0.png", 31, 32)
    with pytest.raises(DataError, match=r"cat/0\.png: 31 × 32 pixels, expected 32 × a multiple of 32"):
        datasets.stage("cifar10", tmp_path / "staged", small)


def test_omniglot_divides_by_drawing_and_inverts(tmp_path):
    source = datasets.fake_source("omniglot", tmp_path / "source")
    path = source / "images_background" / "Greek" / "character01" / "0001_01.png"
    drawing = Image.new("1", (105, 105), 1)
    drawing.paste(0, (0, 0, 105, 52))
    drawing.save(path)
    datasets.stage("omniglot", tmp_path / "staged", source)
    dataset = opened("omniglot", tmp_path / "staged")
    train = dataset.split(True)
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert dataset.split(False).labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    sample = train.fetch([0], None)[0, 0]
    assert (sample[:13] == 255).all()
    assert (sample[15:] == 0).all()


def test_omniglot_drawing_with_another_name_is_refused(tmp_path):
    source = datasets.fake_source("omniglot", tmp_path / "source")
    datasets.write_image(source / "images_evaluation" / "Ge_ez" / "character01" / "scan.png", 105, 105)
    with pytest.raises(DataError, match=r"scan\.png: not the name of a drawing"):
        datasets.stage("omniglot", tmp_path / "staged", source)


def test_tinyimagenet_labels_validation_images_by_its_table(tmp_path):
    source = datasets.fake_source("tinyimagenet", tmp_path / "source")
    table = source / "val" / "val_annotations.txt"
    table.write_text("".join(reversed(table.read_text().splitlines(keepends=True))))
    datasets.stage("tinyimagenet", tmp_path / "staged", source)
    split = opened("tinyimagenet", tmp_path / "staged").split(False)
    assert split.labels.tolist() == [1, 0]
    pixels = np.asarray(Image.open(source / "val" / "images" / "val_1.JPEG").convert("RGB"))
    np.testing.assert_array_equal(split.fetch([0], None)[0], pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("row", ["val_0.JPEG\tn99999999\t0\t0\t1\t1", "val_0.JPEG", ""])
def test_tinyimagenet_table_with_an_unknown_class_is_refused(tmp_path, row):
    source = datasets.fake_source("tinyimagenet", tmp_path / "source")
    with (source / "val" / "val_annotations.txt").open("a") as table:
        table.write(row + "\n")
    with pytest.raises(DataError, match=r"val_annotations\.txt:3: names no class"):
        datasets.stage("tinyimagenet", tmp_path / "staged", source)


def test_tinyimagenet_image_missing_or_of_another_size_is_named(tmp_path):
    source = datasets.fake_source("tinyimagenet", tmp_path / "source")
    datasets.write_image(source / "val" / "images" / "val_0.JPEG", 63, 64)
    with pytest.raises(DataError, match=r"val_0\.JPEG: 63 × 64 pixels, expected 64 × 64"):
        datasets.stage("tinyimagenet", tmp_path / "staged", source)
    (source / "val" / "images" / "val_0.JPEG").unlink()
    with pytest.raises(DataError, match=r"val_0\.JPEG: unreadable image"):
        datasets.stage("tinyimagenet", tmp_path / "staged", source)


def test_damaged_array_is_named_when_opened(tmp_path):
    datasets.stage("digits", tmp_path)
    path = tmp_path / "digits" / "1998" / "train_images.npy"
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(DataError, match=r"train_images\.npy: cannot be read"):
        opened("digits", tmp_path)


def test_finding_a_staged_folder_loads_neither_torch_nor_scikit_learn():
    program = """
import sys
from pathlib import Path
from rehearse.core import registry
from rehearse.core.config import DatasetSection
from rehearse.core.staging import staged_folder
for name in registry.names("datasets"):
    staged_folder(DatasetSection(name=name), Path("datasets"))
assert not {"torch", "torchvision", "sklearn"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
