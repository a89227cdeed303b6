import pytest
import torch

from rehearse.core.protocols import DatasetInfo
from rehearse.training.preprocess import Preprocessor, random_crop, random_flip
from rehearse.training.seeds import generator


def info(augmentation="none"):
    return DatasetInfo(
        num_classes=2, input_shape=(3, 8, 8), mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0), augmentation=augmentation
    )


def images(count=64):
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_normalisation_is_by_channel_on_the_scale_0_to_1():
    stored = images(4)
    expected = (stored.double() / 255 - torch.tensor([0.5, 0.25, 0.0]).view(1, 3, 1, 1)) / torch.tensor(
        [0.5, 1.0, 2.0]
    ).view(1, 3, 1, 1)
    torch.testing.assert_close(
        Preprocessor(info(), torch.device("cpu")).evaluate(stored), expected.float(), atol=1e-6, rtol=1e-5
    )


def test_evaluation_never_augments():
    plain, augmenting = (Preprocessor(info(kind), torch.device("cpu")) for kind in ("none", "crop_flip"))
    assert torch.equal(plain.evaluate(images()), augmenting.evaluate(images()))


def test_training_augments_and_repeats_with_the_same_generator():
    preprocess = Preprocessor(info("crop_flip"), torch.device("cpu"))
    first, again, other = (preprocess.train(images(), generator(seed, "augment", 0)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, preprocess.evaluate(images()))


def test_each_crop_is_a_window_of_its_padded_image():
    stored = images(32)
    padded = torch.nn.functional.pad(stored, (2,) * 4)
    cropped = random_crop(stored, 2, generator(0, "crop"))
    places = set()
    for image, crop in zip(padded, cropped, strict=True):
        found = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if torch.equal(image[:, row : row + 8, column : column + 8], crop)
        ]
        assert found
        places.add(found[0])
    assert len(places) > 10, "crops of one minibatch are at places of their own"


def test_flips_mirror_about_half_of_the_images():
    stored = images(2000)
    flipped = random_flip(stored, generator(0, "flip"))
    mirrored = (flipped == stored.flip(-1)).flatten(1).all(1)
    kept = (flipped == stored).flatten(1).all(1)
    assert bool((mirrored | kept).all())
    assert mirrored.double().mean().item() == pytest.approx(0.5, abs=0.05)
