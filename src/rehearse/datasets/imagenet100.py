"""100 classes of ImageNet-1K.

Expects the same tree as ``imagenet`` with the chosen 100 classes, as links or copies:
``rehearse stage imagenet100 --source FOLDER``.
"""

from __future__ import annotations

from rehearse.core.registry import register
from rehearse.datasets._image_tree import ImageTreeDataset
from rehearse.datasets._photos import IMAGENET_STATISTICS


@register
class ImageNet100(ImageTreeDataset):
    num_classes = 100
    statistics = IMAGENET_STATISTICS
