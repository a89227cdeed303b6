"""Crops, statistics and division of file-based datasets."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from rehearse.core.config import plugin_config
from rehearse.core.errors import ConfigError, DataError
from rehearse.core.staging import open_dataset, staged_folder
from rehearse.datasets._crop import central_box, random_box
from rehearse.datasets._holdout import held_out_mask
from support import datasets


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (64, 64), (7, 500)])
def test_random_box_lies_inside_with_area_and_aspect_as_asked(width, height):
    for seed in range(200):
        left, upper, right, lower = random_box(width, height, (0.1, 1.0), (0.8, 1.25), np.random.default_rng(seed))
        crop_width, crop_height = right - left, lower - upper
        assert 0 <= left < right <= width
        assert 0 <= upper < lower <= height
        assert 0.8 * 0.85 <= crop_width / crop_height <= 1.25 * 1.15  # rounded to whole pixels
        if min(width, height) > 50:
            assert 0.095 <= crop_width * crop_height / (width * height) <= 1.0


def test_random_areas_are_uniform():
    areas = []
    for seed in range(2000):
        left, upper, right, lower = random_box(1000, 1000, (0.1, 0.6), (0.8, 1.25), np.random.default_rng(seed))
        areas.append((right - left) * (lower - upper) / 1e6)
    counts, _ = np.histogram(areas, bins=10, range=(0.1, 0.6))
    chi_squared = ((counts - 200) ** 2 / 200).sum()
    assert chi_squared < 27.9  # 0.1 % of uniform draws exceed it at 9 degrees of freedom


def test_image_too_long_for_any_draw_is_cropped_centrally():
    box = random_box(1000, 10, (1.0, 1.0), (0.8, 1.25), np.random.default_rng(0))
    assert box == (493.75, 0.0, 506.25, 10.0)


def test_central_box_equals_resizing_then_cropping():
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)).resize(
        (600, 400), Image.Resampling.BICUBIC
    )
    once = smooth.resize((224, 224), Image.Resampling.BILINEAR, box=central_box(600, 400, 224 / 256))
    resized = smooth.resize((384, 256), Image.Resampling.BILINEAR)
    twice = resized.crop((80, 16, 304, 240))
    difference = np.asarray(once).astype(int) - np.asarray(twice)
    assert np.abs(difference).max() <= 2


@pytest.fixture
def photos(tmp_path):
    source = datasets.fake_source("image_folder", tmp_path / "source")
    datasets.stage("image_folder", tmp_path / "staged", source)
    return tmp_path


def open_photos(folder, **options):
    return open_dataset(datasets.section("image_folder", **options), folder / "staged")


def test_crops_differ_by_seed_and_by_sample(photos):
    split = open_photos(photos, image_size=8).split(True)
    first, second = split.fetch([0], 1), split.fetch([0], 2)
    assert not np.array_equal(first, second)
    twins = open_photos(photos, image_size=8, crop_scale=[0.2, 0.3]).split(True)
    twins._paths[1] = twins._paths[0]
    pair = twins.fetch([0, 1], 1)
    assert not np.array_equal(pair[0], pair[1])


def test_image_size_is_an_option_of_reading(photos):
    dataset = open_photos(photos, image_size=16, resize=16)
    assert dataset.info.input_shape == (3, 16, 16)
    assert dataset.split(False).fetch([0], None).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_scale": [0.9, 0.1]}, "crop_scale must ascend within 0–1"),
        ({"crop_scale": [0.0, 0.5]}, "crop_scale must ascend within 0–1"),
        ({"crop_aspect": [0, 1]}, "crop_aspect must be positive and ascend"),
        ({"image_size": 64, "resize": 32}, "resize must be at least image_size"),
        ({"tree": "../elsewhere"}, "tree: .* must be letters"),
        ({"image_sise": 64}, "did you mean 'image_size'"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        plugin_config(datasets.section("image_folder", **options))


def test_photo_that_breaks_after_staging_is_named(photos):
    broken = photos / "source" / "train" / "n00000001" / "0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    split = open_photos(photos, image_size=8).split(True)
    with pytest.raises(DataError, match=r"n00000001/0\.png: unreadable image"):
        split.fetch([0, 1], 0)


def test_statistics_are_those_of_the_training_images(tmp_path):
    levels = {"black": 0, "grey": 102, "white": 255}
    for split in ("train", "val"):
        for name, level in levels.items():
            path = tmp_path / "source" / split / name / "0.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (5 + level, 7), (level, level, 51)).save(path)
    datasets.stage("image_folder", tmp_path / "staged", tmp_path / "source")
    info = open_photos(tmp_path).info
    expected = np.array(list(levels.values())) / 255
    np.testing.assert_allclose(info.mean, [expected.mean(), expected.mean(), 0.2], atol=1e-4)
    np.testing.assert_allclose(info.std, [expected.std(), expected.std(), 1 / 255], atol=1e-4)


def test_trees_are_staged_side_by_side(photos):
    other = datasets.fake_source("image_folder", photos / "other")
    datasets.stage("image_folder", photos / "staged", tree="second", path=str(other))
    assert open_photos(photos, tree="second").info.num_classes == 3
    assert (photos / "staged" / "image_folder" / "default").is_dir()


def test_tree_is_used_where_it_lies(photos):
    folder = staged_folder(datasets.section("image_folder"), photos / "staged")
    assert (folder / "train").readlink() == (photos / "source" / "train").resolve()


def test_validation_folder_may_be_called_test(tmp_path):
    datasets.write_photos(tmp_path / "source", splits=("train", "test"))
    assert datasets.stage("image_folder", tmp_path / "staged", tmp_path / "source").num_test == 3


def test_held_out_fifth_is_stratified_and_fixed():
    labels = [0] * 10 + [1] * 23 + [2] * 2
    keys = [f"sample-{position}" for position in range(len(labels))]
    mask = held_out_mask(keys, labels)
    assert [int(mask[np.array(labels) == label].sum()) for label in (0, 1, 2)] == [2, 5, 1]
    shuffled = np.random.default_rng(0).permutation(len(keys))
    again = held_out_mask([keys[i] for i in shuffled], [labels[i] for i in shuffled])
    np.testing.assert_array_equal(again, mask[shuffled])
    assert hashlib.sha256(mask.tobytes()).hexdigest()[:16] == "2ebf08b8bc01d13d"


def test_caltech_leaves_background_out(tmp_path):
    source = datasets.fake_source("caltech101", tmp_path / "source")
    manifest = datasets.stage("caltech101", tmp_path / "staged", source)
    assert (manifest.num_classes, manifest.num_train, manifest.num_test) == (2, 8, 2)
