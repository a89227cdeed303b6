"""Splits for tests of loaders; in a module of their own so that worker processes can import them."""

import os
import signal

import numpy as np

from rehearse.core.errors import DataError


class NumberedSplit:
    """Sample i of n holds i, the seed (0 for None) and noise of both in three int64 "pixels"."""

    def __init__(self, num_samples):
        self.labels = np.arange(num_samples) % 5
        self.last = None

    def fetch(self, indices, seed):
        rows = np.zeros((len(indices), 1, 1, 3), dtype=np.int64)
        for row, index in zip(rows, indices, strict=True):
            noise = np.random.default_rng([index, seed or 0]).integers(1000)
            row[0, 0] = index, seed or 0, noise
        self.last = rows
        return rows


class ReadOnlySplit(NumberedSplit):
    """Gives arrays that must not be written."""

    def fetch(self, indices, seed):
        rows = super().fetch(indices, seed)
        rows.setflags(write=False)
        return rows


class SpoiltSplit(NumberedSplit):
    """One sample cannot be read: ``way`` says what happens."""

    def __init__(self, num_samples, spoilt, way):
        super().__init__(num_samples)
        self.spoilt = spoilt
        self.way = way

    def fetch(self, indices, seed):
        if self.spoilt in indices:
            if self.way == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.way == "bug":
                raise ZeroDivisionError("a bug in fetch")
            raise DataError(f"photo-{self.spoilt}.jpg: not an image")
        return super().fetch(indices, seed)


class ProcessSplit(NumberedSplit):
    """Tells which process loads, and who started it."""

    def fetch(self, indices, seed):
        return np.full((len(indices), 1, 1, 2), [os.getpid(), os.getppid()], dtype=np.int64)
