"""Every registered dataset keeps the promises of `rehearse.core.protocols.Dataset`."""

import pickle
import shutil

import numpy as np
import pytest

from rehearse.core import registry
from rehearse.core.catalogue import catalogue
from rehearse.core.config import plugin_config
from rehearse.core.staging import MANIFEST, open_dataset, read_manifest, staged_folder
from rehearse.datasets._staging import verify_dataset
from support import datasets

NAMES = registry.names("datasets")


@pytest.fixture(scope="module", params=NAMES)
def staged(request, tmp_path_factory):
    """Name and folder of a staged dataset."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    datasets.stage(name, folder / "staged", datasets.fake_source(name, folder / "source"))
    return name, folder / "staged"


@pytest.fixture
def opened(staged):
    name, dataset_dir = staged
    return open_dataset(datasets.section(name), dataset_dir)


def test_catalogue_and_plugins_agree():
    assert sorted(catalogue()) == sorted(NAMES)


def test_every_official_file_can_be_fetched_and_checked():
    for known in catalogue().values():
        assert known.licence
        for archive in known.archives:
            assert archive.urls
            assert archive.num_bytes > 0
            assert len(archive.sha256) == 64 or len(archive.md5) == 32


def test_manifest_describes_what_is_there(staged, opened):
    name, dataset_dir = staged
    section = datasets.section(name)
    folder = staged_folder(section, dataset_dir)
    manifest = read_manifest(section, dataset_dir)
    assert manifest.name == name
    assert (manifest.num_train, manifest.num_test) == (len(opened.split(True).labels), len(opened.split(False).labels))
    assert manifest.num_classes == opened.info.num_classes
    described = {item.path for item in (*manifest.files, *manifest.trees)}
    assert described == {path.name for path in folder.iterdir()} - {MANIFEST}
    assert verify_dataset(section, dataset_dir, datasets.ignore) == manifest


def test_nothing_else_is_left_beside_it(staged):
    name, dataset_dir = staged
    visible = [path.name for path in (dataset_dir / name).iterdir() if not path.name.startswith(".")]
    assert visible == [staged_folder(datasets.section(name), dataset_dir).name]
    assert not list((dataset_dir / name).glob(".*partial"))


def test_staging_again_does_nothing(staged, tmp_path):
    name, dataset_dir = staged
    before = read_manifest(datasets.section(name), dataset_dir)
    assert datasets.stage(name, dataset_dir, tmp_path / "not read") == before


def test_info_is_sound(opened):
    info = opened.info
    channels = info.input_shape[0]
    assert info.num_classes >= 2
    assert len(info.input_shape) == 3
    assert channels in (1, 3)
    assert len(info.mean) == len(info.std) == channels
    assert all(0 <= mean <= 1 for mean in info.mean)
    assert all(0 < std <= 0.6 for std in info.std)
    assert info.input_dtype == "uint8"


@pytest.mark.parametrize("train", [True, False])
def test_labels_cover_the_classes(opened, train):
    labels = opened.split(train).labels
    assert labels.dtype == np.int64
    assert labels.ndim == 1
    assert set(labels.tolist()) == set(range(opened.info.num_classes))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("seed", [None, 3])
def test_fetch_gives_samples_as_stored(opened, train, seed):
    split = opened.split(train)
    samples = split.fetch([0, len(split.labels) - 1, 0], seed)
    assert samples.shape == (3, *opened.info.input_shape)
    assert samples.dtype == np.dtype(opened.info.input_dtype)
    np.testing.assert_array_equal(samples[0], samples[2])
    assert samples.flags.writeable


def test_fetch_of_nothing(opened):
    assert opened.split(True).fetch([], 0).shape == (0, *opened.info.input_shape)


def test_sample_depends_on_seed_and_index_only(opened):
    split = opened.split(True)
    order = np.random.default_rng(0).permutation(len(split.labels))[:6]
    together = split.fetch(order, 7)
    alone = np.concatenate([split.fetch([index], 7) for index in order[::-1]])[::-1]
    np.testing.assert_array_equal(together, alone)


def test_evaluation_is_the_same_every_time(opened):
    split = opened.split(False)
    np.testing.assert_array_equal(split.fetch([0, 1], None), split.fetch([0, 1], None))


def test_split_can_be_sent_to_workers(opened):
    split = opened.split(True)
    text = pickle.dumps(split)
    copy = pickle.loads(text)
    np.testing.assert_array_equal(copy.fetch([1, 0], 5), split.fetch([1, 0], 5))
    np.testing.assert_array_equal(copy.labels, split.labels)
    assert len(text) < 4096 + 100 * len(split.labels)


def test_staged_twice_from_one_source_is_equal(staged, tmp_path):
    name, dataset_dir = staged
    source = dataset_dir.parent / "source"
    again = datasets.stage(name, tmp_path, source if source.exists() else None)
    first = read_manifest(datasets.section(name), dataset_dir)
    assert (again.files, again.trees) == (first.files, first.trees)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])
def test_missing_source_is_refused_and_leaves_nothing(name, tmp_path):
    from rehearse.core.errors import DataError

    with pytest.raises(DataError, match="no such file or folder"):
        datasets.stage(name, tmp_path / "staged", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"holds no files of '{name}'; looked for"):
        datasets.stage(name, tmp_path / "staged", tmp_path / "empty")
    assert not staged_folder(datasets.section(name), tmp_path / "staged").exists()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])
def test_a_folder_around_the_source_and_an_archive_of_it_do(name, tmp_path):
    source = datasets.fake_source(name, tmp_path / "around" / "inner")
    direct = datasets.stage(name, tmp_path / "a", tmp_path / "around")
    archive = shutil.make_archive(str(tmp_path / "packed"), "gztar", source)
    unpacked = datasets.stage(name, tmp_path / "b", tmp_path / "packed.tar.gz")
    assert archive.endswith("packed.tar.gz")
    assert (direct.files, direct.trees) == (unpacked.files, unpacked.trees)
    assert direct.source == "folder inner"
    assert unpacked.source == "archive packed.tar.gz"
    assert not direct.verified
    assert not unpacked.verified


@pytest.mark.parametrize("name", NAMES)
def test_options_are_all_explained(name):
    config = plugin_config(datasets.section(name))
    assert all(field.description for field in type(config).model_fields.values())
