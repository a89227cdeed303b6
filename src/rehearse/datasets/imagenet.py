"""ImageNet-1K (ILSVRC 2012): 1,000 classes, 1.28 million photos.

Expects ``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG``, the validation images sorted into class folders:
``rehearse stage imagenet --source FOLDER``.
"""

from __future__ import annotations

from rehearse.core.registry import register
from rehearse.datasets._image_tree import ImageTreeDataset
from rehearse.datasets._photos import IMAGENET_STATISTICS


@register
class ImageNet(ImageTreeDataset):
    num_classes = 1000
    statistics = IMAGENET_STATISTICS
