"""Failed jobs on the screen. Snakemake has one switch for what a job does and why it failed (`quiet: rules`).

With it off, every job is a block of some ten lines; with it on, no error of a job or an executor is shown or
logged. So errors are let through to Snakemake's log as they are, and told on the screen in a line or two.
"""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakefold.run.status.folder import INTERRUPTED, TERMINATED
from snakefold.run.unfinished import last_error, last_line

#: What the base class of all remote executors adds to every message.
_TAIL = re.compile(r"\s*For further error details see the cluster/cloud log and the log files.*", re.DOTALL)
_MOST_CHARACTERS = 1000
#: Entries of an error: it has been told; nobody but the log knows why.
TOLD, UNEXPLAINED = "told", "unexplained"
#: Steps before anything is computed: their errors are of settings and inputs, and are told as a whole.
_FIRST_STEPS = {"configure", "plan"}
#: The same words are told so often.
_MOST_EQUAL = 3


class JobErrors(logging.Handler):
    """Tells of failed jobs, on stderr.

    Args:
        say: takes the id of a job and what is told of it, in place of stderr.
    """

    def __init__(self, say: Callable[[int | None, str], None] | None = None) -> None:
        super().__init__(logging.INFO)
        self._interrupted = False
        self._say = say
        self._told: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """A record of Snakemake's; anything but a failed job is left to its own handler."""
        self._interrupted |= record.getMessage().startswith((INTERRUPTED, TERMINATED))
        # What an interrupt ends has not failed.
        if self._interrupted:
            return
        if _is_job_error(record) and TOLD not in getattr(record, "aux", {}):
            try:
                text = self._text(record)
                if text and self._say is not None:
                    self._say(getattr(record, "jobid", None), text)
                elif text:
                    print(text, file=sys.stderr, flush=True)
            except Exception:
                self.handleError(record)

    def _text(self, record: logging.LogRecord) -> str:
        logs = list(getattr(record, "log", ()))
        if getattr(record, "rule_name", "") in _FIRST_STEPS and logs and (said := last_error(Path(logs[0]))):
            # Nobody wants to open a log to see which setting is wrong.
            return said
        where = f"\n  log: {logs[0]}" if logs else ""
        why = _why(record, logs)
        return _counted(self._told, why, f"Failed: {job_name(record)}: {why}{where}")


def show_job_errors(logger: logging.Logger, quiet: Any) -> None:
    """Have failed jobs told, whatever Snakemake is quiet about; `--quiet all` is left alone."""
    if any(getattr(each, "name", "") == "ALL" for each in quiet or ()):
        return
    if any(isinstance(handler, JobErrors) for handler in logger.handlers):
        return
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.filters = [_besides(each) for each in handler.filters]
    logger.addHandler(JobErrors())


def seldom(say: Callable[[str], None]) -> Callable[[str], None]:
    """`say`, but for what it has said a few times, whichever job it was about."""
    told: Counter[str] = Counter()

    def say_seldom(text: str) -> None:
        if text := _counted(told, text.partition(": ")[2] or text, text):
            say(text)

    return say_seldom


def _counted(told: Counter[str], kind: str, text: str) -> str:
    """`text`; empty if its kind, numbers aside, was told before, and before."""
    kind = re.sub(r"\d+", "", kind)
    told[kind] += 1
    if told[kind] > _MOST_EQUAL:
        return ""
    last = told[kind] == _MOST_EQUAL
    return text + "\n  (further failures of this kind are in failures.tsv)" * last


def job_name(record: Any) -> str:
    """`predict b0001-l0070`, or the rule alone."""
    rule = str(getattr(record, "rule_name", "a group"))
    for path in map(Path, getattr(record, "log", ())):
        if path.parent.name == rule:
            return f"{rule} {path.stem}"
    return rule


def _is_job_error(record: logging.LogRecord) -> bool:
    return getattr(getattr(record, "event", None), "name", "") in {"JOB_ERROR", "GROUP_ERROR"}


def _besides(given: Any) -> Any:
    """A filter that lets errors of jobs through, and what it let through before."""
    passes = given.filter if hasattr(given, "filter") else given
    return lambda record: _is_job_error(record) or passes(record)


def _why(record: Any, logs: list[str]) -> str:
    said = _TAIL.sub("", str(getattr(record, "rule_msg", None) or "")).strip()
    own = ""
    if not said or UNEXPLAINED in getattr(record, "aux", {}):
        own = (last_line(Path(logs[0])) if logs else "") or "its log is empty"
    return " ".join(filter(None, (said, own)))[:_MOST_CHARACTERS]
