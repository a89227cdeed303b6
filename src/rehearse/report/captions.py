"""Sentences that captions share, so that every figure says the same thing in the same words."""

from __future__ import annotations

from rehearse.report.load import Runs


def seeds(runs: Runs) -> str:
    """How many seeds stand behind each value: ``3 seeds``, ``2 to 3 seeds``, ``one seed``."""
    counts = runs.seed_counts
    if counts == (1,):
        return "one seed"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def extremes(runs: Runs, values: str, ranges: str) -> str:
    """What marks and ranges mean where ranges reach from the lowest to the highest seed.

    Args:
        runs: Whose seeds are counted.
        values: What shows the mean, such as ``Lines``.
        ranges: What shows the range, such as ``bands``.
    """
    if runs.seed_counts == (1,):
        return f"{values}: one seed, so there are no {ranges}."
    return f"{values}: mean over {seeds(runs)}; {ranges}: from the lowest to the highest seed."


def interval(runs: Runs, values: str, intervals: str) -> str:
    """What marks and intervals mean where intervals are those of the mean.

    Args:
        runs: Whose seeds are counted.
        values: What shows the mean, such as ``Lines``.
        intervals: What shows the confidence interval, such as ``bands``.
    """
    if runs.seed_counts == (1,):
        return f"{values}: one seed, of which there is no confidence interval."
    single = " (none where there is one seed)" if 1 in runs.seed_counts else ""
    return f"{values}: mean over {seeds(runs)}; {intervals}: 95 % confidence interval of the mean, Student's t{single}."


def mean(runs: Runs) -> str:
    """What values without an interval are."""
    return "Values: one seed." if runs.seed_counts == (1,) else f"Values: mean over {seeds(runs)}."


def narrowing(runs: Runs, shown: Runs) -> str:
    """What to say where a figure leaves out scalings; empty where it shows all."""
    if len(shown.finished) == len(runs.finished):
        return ""
    return "Only the most ranks of each dataset are shown; the tables hold all scalings."


def complete(runs: Runs, *sentences: str) -> str:
    """The caption as one text, with a warning if cells are missing."""
    note = f"{runs.note} had finished." if runs.note else ""
    return " ".join(sentence for sentence in (*sentences, note) if sentence)
