"""Mean, standard deviation and confidence interval over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """How one quantity spreads over seeds; in the quantity's own unit.

    Attributes:
        mean: Arithmetic mean.
        sd: Sample standard deviation (n − 1); NaN for a single seed.
        ci95: Half-width of the 95 % confidence interval of the mean; NaN for a single seed.
        low: Lowest value.
        high: Highest value.
        num_seeds: Seeds with a value.
    """

    mean: float
    sd: float
    ci95: float
    low: float
    high: float
    num_seeds: int


def spread(values: Sequence[float] | pd.Series[float]) -> Spread:
    """Mean, deviation and interval of one value per seed; NaN values are seeds without one.

    The interval is Student's: mean ± t(0.975, n − 1) · s / √n.
    """
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    num_seeds = len(known)
    if num_seeds == 0:
        return Spread(math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    mean, low, high = float(known.mean()), float(known.min()), float(known.max())
    if num_seeds == 1:
        return Spread(mean, math.nan, math.nan, low, high, 1)
    sd = float(known.std(ddof=1))
    quantile = float(stdtrit(num_seeds - 1, (1 + CONFIDENCE) / 2))
    return Spread(mean, sd, quantile * sd / math.sqrt(num_seeds), low, high, num_seeds)


def spread_over_seeds(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """One row per group of ``by`` with the columns of ``Spread`` for ``value``; order is kept."""
    rows = [
        {**dict(zip(by, key, strict=True)), **asdict(spread(group[value]))}
        for key, group in frame.groupby(by, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*by, *(field.name for field in fields(Spread))])
