"""ImageNet-1K with blurred faces (Yang et al., 2022).

Expects ``train/<wnid>/*`` and ``val/<wnid>/*``, the two official archives unpacked:
``rehearse stage imagenet_blurred --source FOLDER``.
"""

from __future__ import annotations

from rehearse.core.registry import register
from rehearse.datasets._image_tree import ImageTreeDataset
from rehearse.datasets._photos import IMAGENET_STATISTICS


@register
class ImageNetBlurred(ImageTreeDataset):
    num_classes = 1000
    statistics = IMAGENET_STATISTICS
