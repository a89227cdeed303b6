"""100 classes of ImageNet-1K with fewer photos per class.

Expects the same tree as ``imagenet`` with the chosen classes and photos, as links or copies:
``rehearse stage imagenet100small --source FOLDER``.
"""

from __future__ import annotations

from rehearse.core.registry import register
from rehearse.datasets._image_tree import ImageTreeDataset
from rehearse.datasets._photos import IMAGENET_STATISTICS


@register
class ImageNet100Small(ImageTreeDataset):
    num_classes = 100
    statistics = IMAGENET_STATISTICS
