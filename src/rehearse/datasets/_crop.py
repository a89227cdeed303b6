"""Crops of photos: random ones that depend on nothing but a seed and a position, and the central one.

torchvision's transforms draw from a generator that a whole process shares, so what a sample looks
like would depend on the worker that loads it.
"""

from __future__ import annotations

import math

import numpy as np

Box = tuple[float, float, float, float]
_ATTEMPTS = 10


def random_box(
    width: int, height: int, scale: tuple[float, float], aspect: tuple[float, float], rng: np.random.Generator
) -> Box:
    """Random part of an image, to be resized to a square.

    The area is uniform in ``scale``, the aspect ratio log-uniform in ``aspect``. A draw that does not
    fit is repeated; after some, the largest central part with an allowed aspect ratio is taken
    (Szegedy et al., 2015, as in the ImageNet recipes of torchvision and DALI).

    Args:
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        scale: Smallest and largest share of the image's area.
        aspect: Smallest and largest width / height.
        rng: Source of randomness.

    Returns:
        Left, upper, right and lower edge, in pixels.
    """
    for _ in range(_ATTEMPTS):
        area = width * height * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left = int(rng.integers(0, width - crop_width, endpoint=True))
            upper = int(rng.integers(0, height - crop_height, endpoint=True))
            return left, upper, left + crop_width, upper + crop_height
    ratio = min(max(width / height, aspect[0]), aspect[1])
    return _central(width, height, min(width, height * ratio), min(height, width / ratio))


def central_box(width: int, height: int, share: float) -> Box:
    """Central square whose side is ``share`` of the image's shorter side.

    Cutting it out and resizing it once equals resizing the whole image and cropping afterwards.
    """
    side = min(width, height) * share
    return _central(width, height, side, side)


def _central(width: int, height: int, crop_width: float, crop_height: float) -> Box:
    left, upper = (width - crop_width) / 2, (height - crop_height) / 2
    return left, upper, left + crop_width, upper + crop_height
