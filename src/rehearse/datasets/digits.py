"""Handwritten digits bundled with scikit-learn: 1,797 grey images of 8 × 8 pixels, 10 classes.

The set has no official division; one fifth of each class, chosen once and for all, is the test set
(1,438 and 359 images). The values 0–16 are stretched to 0–255.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from rehearse.core.catalogue import entry
from rehearse.core.config import PluginConfig
from rehearse.core.errors import DataError
from rehearse.core.protocols import Origin, Progress
from rehearse.core.registry import register
from rehearse.datasets._arrays import ArrayDataset, Decoded, Samples, save
from rehearse.datasets._holdout import held_out_mask
from rehearse.datasets._sources import Layout

_MAX_VALUE = 16


@register
class Digits(ArrayDataset):
    """Needs neither network nor source; mean and deviation are those of the training images."""

    Config = PluginConfig
    layout = Layout(trees=())
    mean = (0.3046,)
    std = (0.3761,)
    augmentation = "none"

    @classmethod
    def stage(cls, config: PluginConfig, root: Path, source: Path | None, progress: Progress) -> Origin:
        if source is not None:
            raise DataError("dataset 'digits' comes with scikit-learn; stage it without --source")
        save(cls.read(root, progress), root)
        return Origin("bundled with scikit-learn", verified=True)

    @classmethod
    def read(cls, tree: Path, progress: Progress) -> Decoded:
        from sklearn.datasets import load_digits

        bundled = load_digits()
        values, labels = bundled.images.astype(np.uint8), bundled.target.astype(np.int64)
        checksum = hashlib.sha256(values.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
        if checksum != entry("digits").sha256:
            raise DataError(
                f"scikit-learn's digits have the sha256 {checksum}, expected {entry('digits').sha256}; "
                "reinstall scikit-learn"
            )
        images = (values.astype(np.uint16) * 255 // _MAX_VALUE).astype(np.uint8)[:, np.newaxis]
        test = held_out_mask([f"digits/{position}" for position in range(len(labels))], labels.tolist())
        progress("digits", len(labels), len(labels))
        return Decoded(
            train=Samples(images[~test], labels[~test]),
            test=Samples(images[test], labels[test]),
            classes=tuple("0123456789"),
        )
