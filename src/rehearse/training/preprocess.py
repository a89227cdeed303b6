"""Stored samples to network inputs, batched and on the device: augmentation and normalisation."""

from __future__ import annotations

import torch
from torch import Tensor

from rehearse.core.protocols import DatasetInfo

_PADDING_FRACTION = 8


class Preprocessor:
    """Turns ``(n, C, H, W)`` stored samples into normalised float32 on the device."""

    def __init__(self, info: DatasetInfo, device: torch.device) -> None:
        self._augmentation = info.augmentation
        scale = 255.0 if info.input_dtype == "uint8" else 1.0
        shape = (1, len(info.mean), *[1] * (len(info.input_shape) - 1))
        self._mean = torch.tensor(info.mean, device=device).view(shape) * scale
        self._std = torch.tensor(info.std, device=device).view(shape) * scale

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Normalise only; evaluation never sees an augmentation."""
        return (inputs.float() - self._mean) / self._std

    def train(self, inputs: Tensor, draws: torch.Generator) -> Tensor:
        """Augment each sample on its own, then normalise.

        Args:
            inputs: On the device, stored dtype.
            draws: CPU generator of the offsets and flips.
        """
        if self._augmentation == "crop_flip":
            inputs = random_crop(inputs, inputs.shape[-1] // _PADDING_FRACTION, draws)
        if self._augmentation in ("flip", "crop_flip"):
            inputs = random_flip(inputs, draws)
        return self.evaluate(inputs)


def random_crop(inputs: Tensor, padding: int, draws: torch.Generator) -> Tensor:
    """Pad each image with zeros and cut a window of its size at a place of its own."""
    count, channels, height, width = inputs.shape
    padded = torch.nn.functional.pad(inputs, (padding,) * 4)
    offsets = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=draws).to(inputs.device)
    rows = offsets[0] + torch.arange(height, device=inputs.device)
    columns = offsets[1] + torch.arange(width, device=inputs.device)
    image = torch.arange(count, device=inputs.device)
    channel = torch.arange(channels, device=inputs.device)
    return padded[image[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]


def random_flip(inputs: Tensor, draws: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability 1/2."""
    flip = (torch.rand(inputs.shape[0], generator=draws) < 0.5).to(inputs.device)
    return torch.where(flip[:, None, None, None], inputs.flip(-1), inputs)
