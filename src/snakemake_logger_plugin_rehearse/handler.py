"""Connects Snakemake's logging with the monitor."""

from __future__ import annotations

import logging
import sys

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.base import LogHandlerBase

from snakemake_logger_plugin_rehearse.display import choose_display
from snakemake_logger_plugin_rehearse.monitor import Monitor


class LogHandler(LogHandlerBase):
    """Shows a campaign's progress, and Snakemake's own text where that is asked for.

    A dry run and the options ``--printshellcmds``, ``--verbose``, ``--debug-dag`` and ``--quiet all``
    are about Snakemake itself and leave the word to it. So does an error in here: it never breaks a run.
    """

    def __post_init__(self) -> None:
        wanted = self.common_settings
        quiet = set(wanted.quiet or ())
        stream = sys.stdout if wanted.stdout else sys.stderr
        formatter = DefaultFormatter(quiet, wanted.show_failed_logs)
        self._snakemake = ColorizingTextHandler(nocolor=wanted.nocolor, stream=stream, formatter=formatter)
        self._snakemake.addFilter(
            DefaultFilter(quiet, wanted.debug_dag, wanted.verbose, wanted.dryrun, wanted.printshellcmds)
        )
        about_itself = wanted.dryrun or wanted.printshellcmds or wanted.verbose or wanted.debug_dag
        self._monitor: Monitor | None = None
        if not about_itself and Quietness.ALL not in quiet:
            self._monitor = Monitor(choose_display(stream), formatter.format)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        if self._monitor is None:
            self._snakemake.handle(record)
            return
        try:
            self._monitor.take(record)
        except Exception as error:  # whatever it is, training goes on
            self._give_up(error)
            self._snakemake.handle(record)

    def close(self) -> None:
        """Stop the display."""
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        super().close()

    def _give_up(self, error: Exception) -> None:
        monitor, self._monitor = self._monitor, None
        message = f"rehearse: the progress display failed ({type(error).__name__}: {error}); Snakemake's own follows"
        self._snakemake.handle(logging.LogRecord("rehearse", logging.WARNING, __file__, 0, message, None, None))
        if monitor is not None:
            monitor.close()

    @property
    def writes_to_stream(self) -> bool:
        return True

    @property
    def writes_to_file(self) -> bool:
        return False

    @property
    def has_filter(self) -> bool:
        return True

    @property
    def has_formatter(self) -> bool:
        return True

    @property
    def needs_rulegraph(self) -> bool:
        return False
