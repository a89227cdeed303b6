"""Statistical tests of laws; each returns a p-value, so that a biased twin can be given to the same test."""

import numpy as np
from scipy import stats

CREDIBLE = 1e-3
"""An unbiased sample with the fixed seeds of our tests stays above, a biased twin far below."""

IMPOSSIBLE = 1e-9


def uniform(counts, drawn_at_a_time):
    """Each of n items is in a draw of r distinct ones with the same probability.

    Draws without replacement vary less than a multinomial: X² (n - 1)/(n - r) ~ χ²(n - 1).
    """
    counts = np.asarray(counts, dtype=float)
    n = len(counts)
    statistic = ((counts - counts.mean()) ** 2 / counts.mean()).sum() * (n - 1) / (n - drawn_at_a_time)
    return stats.chi2.sf(statistic, n - 1)


def pairs_uniform(draws, n):
    """The first two items of a draw are any ordered pair of distinct items with the same probability."""
    table = np.zeros((n, n))
    np.add.at(table, (draws[:, 0], draws[:, 1]), 1)
    assert table.trace() == 0
    return stats.chisquare(table[~np.eye(n, dtype=bool)]).pvalue


def independent(first, second, n):
    """What one rank draws says nothing about what another draws in the same round."""
    table = np.zeros((n, n))
    np.add.at(table, (first, second), 1)
    return stats.chi2_contingency(table).pvalue
