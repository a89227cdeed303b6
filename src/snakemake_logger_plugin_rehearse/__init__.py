"""Progress of a campaign for Snakemake: cells done of all, and what each running cell is at.

Snakemake finds this package by its name; ``logger: rehearse`` in a profile turns it on.
"""

from snakemake_logger_plugin_rehearse.handler import LogHandler

__all__ = ["LogHandler"]
