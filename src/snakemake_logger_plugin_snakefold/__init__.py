"""Snakemake's logger plugin of snakefold: `--logger snakefold` shows a run as one panel.

Snakemake finds it by the name of this package. What is shown comes from `snakefold.run.status`, which reads
the files of the run, as `snakefold status` does.
"""

from __future__ import annotations

import logging
import re
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import snakemake
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

if TYPE_CHECKING:
    from snakefold.run.status.live import LiveScreen, Redirection

#: What Snakemake says besides of a job that failed, which is told in other words.
_BESIDES = re.compile(
    r"Exiting because a job execution failed|RuleException:\s+CalledProcessError"
    r"|WorkflowError:\s+At least one job did not complete successfully"
)
#: Fails if a target has: the table of the run says so.
_SUMMARY = "summary"
#: Attribute of records (`extra`) that a person should see.
FOR_SCREEN = "for_screen"


def _is_error(record: logging.LogRecord) -> bool:
    """Whether a record tells of an error that is no job's."""
    of_job = str(getattr(record, "event", "")) in {"job_error", "group_error"}
    return record.levelno >= logging.ERROR and not of_job and not _BESIDES.match(record.getMessage())


def _is_notice(record: logging.LogRecord) -> bool:
    """Whether a record is for the screen: the workflow says so, or an executor warns."""
    own = Path(record.pathname).is_relative_to(Path(snakemake.__file__).parent)
    return getattr(record, FOR_SCREEN, False) or (record.levelno == logging.WARNING and not own)


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Options of the command line: `--logger-snakefold-interval`."""

    interval: float | None = field(
        default=60.0,
        metadata={"help": "Seconds between two lines where stdout is no terminal.", "type": float},
    )


class LogHandler(LogHandlerBase):
    """Snakemake's records in a log, and the state of the run on the screen.

    Until the workflow says where its results are (`show`), records are kept; if it never does, because
    Snakemake could not start or was asked for something else, they are printed at the end.
    """

    #: What the process should end with, if a signal ended the run.
    exit_code: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        """Called by the interface's constructor."""
        from snakemake.logging import DefaultFilter

        from snakefold.clusters.job_errors import JobErrors

        self._early: list[str] = []
        self._screen: LiveScreen | None = None
        self._redirection: Redirection | None = None
        self._results = Path()
        self._started = time.time()
        self._interrupted = False
        self._closed = False
        self._job_errors = JobErrors(say=self._fail)
        given = self.common_settings
        self._passes = DefaultFilter(
            given.quiet, given.debug_dag, given.verbose, given.dryrun, given.printshellcmds
        )

    def show(self, results: Path) -> None:
        """The workflow begins a run of these results: from now on the screen belongs to it."""
        if self.common_settings.dryrun or self._closed or self._screen is not None:
            return
        from snakefold.run.status.live import LiveScreen, Redirection, log_of

        self.acquire()  # records come from another thread
        try:
            self._results = results
            self._redirection = Redirection(log_of(results))
            interval = getattr(self.settings, "interval", None) or 60.0
            self._screen = LiveScreen(
                results,
                self._redirection.screen,
                interval=interval,
                colour=not self.common_settings.nocolor,
            )
            early, self._early = self._early, []
            for text in early:
                self._write(text)
        finally:
            self.release()
        self._screen.start()

    def emit(self, record: logging.LogRecord) -> None:
        """A record of Snakemake's."""
        try:
            self._hear(record)
            text = self.format(record) if self._passes.filter(record) else ""
            if text and text != "None":
                self._write(text)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Snakemake is about to end."""
        if self._closed:
            return
        self._closed = True
        # Before the first job, Snakemake is simply left.
        if isinstance(sys.exc_info()[1], KeyboardInterrupt):
            self._interrupted, LogHandler.exit_code = True, 128 + signal.SIGINT
        if self._screen is not None and self._redirection is not None:
            self._screen.end(self._ending(self._screen))
            self._redirection.end()
        elif self._interrupted:
            print("Stopped.", file=sys.stderr)
        else:
            stream = sys.stdout if self.common_settings.dryrun else sys.stderr
            for text in self._early:
                print(text, file=stream)
        super().close()

    def _ending(self, screen: LiveScreen) -> list[str]:
        from snakefold.run.status.ending import ending
        from snakefold.run.status.live import log_of

        try:
            return ending(
                self._results,
                log_of(self._results),
                started=self._started,
                interrupted=self._interrupted,
                failed=screen.failed,
                failures=screen.failures,
            )
        except Exception as error:  # the run is over; what it made is there
            return [f"{type(error).__name__}: {error}"]

    def _hear(self, record: logging.LogRecord) -> None:
        from snakefold.run.status.folder import INTERRUPTED, TERMINATED

        event, said = str(getattr(record, "event", "") or ""), record.getMessage()
        self._job_errors.emit(record)
        if said.startswith(TERMINATED):
            self._interrupted, LogHandler.exit_code = True, 128 + signal.SIGTERM
        elif said.startswith(INTERRUPTED):
            self._interrupted, LogHandler.exit_code = True, 128 + signal.SIGINT
        if self._screen is None:
            return
        if said.startswith((INTERRUPTED, TERMINATED)):
            self._screen.note("Stopping: jobs are ended. Finished targets are kept.")
        elif event == "job_finished":
            self._screen.settle(getattr(record, "job_id", None))
        elif _is_notice(record):
            self._screen.note(said)
        elif _is_error(record) and not self._interrupted:
            self._screen.fail(said, said)

    def _fail(self, job: Any, text: str) -> None:
        if self._screen is not None and not text.startswith(f"Failed: {_SUMMARY}:"):
            self._screen.fail(job, text)

    def _write(self, text: str) -> None:
        if self._redirection is None:
            self._early.append(text)
        else:
            print(text, file=sys.stderr, flush=True)

    @property
    def writes_to_stream(self) -> bool:
        """In place of Snakemake's own."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """The log is the workflow's."""
        return False

    @property
    def has_filter(self) -> bool:
        """Errors of jobs are told whatever Snakemake is quiet about."""
        return True

    @property
    def has_formatter(self) -> bool:
        """The log is in Snakemake's words."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """Nobody asks for it."""
        return False
