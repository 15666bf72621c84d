"""A run on the screen while it runs: one panel that is redrawn in place, or a line at intervals.

From then on, all else that this process and its children write goes to a log: Snakemake's own text, what
steps print, and warnings of libraries.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from snakefold.kernel.errors import SnakefoldError
from snakefold.run.status.model import Status
from snakefold.run.status.read import Reader
from snakefold.run.status.text import clean, line, lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

#: Seconds between two looks at the run's files, which take at most a twentieth of the time.
_PAUSE, _SHARE = 1.0, 20.0
#: Failed jobs that the panel has room for.
_MOST_FAILURES = 3
#: What is a link or a path is not cut at the terminal's edge.
_WHOLE = ("report:", "log:", "resume:")


def log_of(results: Path) -> Path:
    """Where a run writes what is not for the screen."""
    return results / "logs" / "run.log"


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream shows a panel; on a dumb terminal nothing can be redrawn."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


class Redirection:
    """Standard output and standard error of this process and its children, in a log until `end`."""

    def __init__(self, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        _flush()
        self._kept = [os.dup(number) for number in (1, 2)]
        with log.open("ab") as stream:
            for number in (1, 2):
                os.dup2(stream.fileno(), number)
        self.screen: TextIO = os.fdopen(os.dup(self._kept[0]), "w", encoding="utf-8", errors="replace")

    def end(self) -> None:
        """As it was before."""
        _flush()
        for number, kept in zip((1, 2), self._kept, strict=True):
            os.dup2(kept, number)
            os.close(kept)
        with contextlib.suppress(OSError):  # the terminal is gone, or the reader of a pipe
            self.screen.close()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


class LiveScreen:
    """Shows a run until `end`. A screen that cannot be written ends no run.

    Args:
        interval: seconds between two lines, where `stream` is no terminal.
        colour: false: none, whatever the terminal can do.
    """

    def __init__(self, results: Path, stream: TextIO, *, interval: float = 60.0, colour: bool = True) -> None:
        self._reader, self._stream, self._interval = Reader(results), stream, interval
        self._log = log_of(results)
        self._failures: dict[object, str] = {}
        self._note = ""
        self._status: Status | None = None
        self._shown: list[str] = []
        self._said_at: float | None = None
        self._warned: set[str] = set()
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._live = _live(stream, colour) if is_terminal(stream) else None
        self._thread = threading.Thread(target=self._look_again_and_again, name="screen", daemon=True)

    def start(self) -> None:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        else:
            self._print([f"log:     {self._log}"])
        self._thread.start()

    @property
    def failures(self) -> list[str]:
        """What is told of jobs that failed and were not done since; nothing that was printed already."""
        with self._lock:
            return [] if self._live is None else list(self._failures.values())

    def fail(self, job: object, text: str) -> None:
        """A job, or a step of the run, has failed."""
        with self._lock:
            self._failures[job] = text
            if self._live is None:
                self._print(text.splitlines())

    @property
    def failed(self) -> bool:
        """Whether something failed and was not done since."""
        return bool(self._failures)

    def settle(self, job: object) -> None:
        """A job is done after all."""
        with self._lock:
            self._failures.pop(job, None)

    def note(self, text: str) -> None:
        """Something that is said below the panel from now on."""
        with self._lock:
            self._note = text
            if self._live is None:
                self._print([text])
            self._draw()

    def end(self, told: Sequence[str]) -> None:
        """Take the panel away and print the last lines."""
        self._ended.set()
        self._thread.join()
        if self._live is None:
            self._look()  # a run may end before anybody has looked
        with self._lock:
            if self._live is not None:
                with contextlib.suppress(OSError):
                    self._live.stop()
            self._print(told)

    def _look_again_and_again(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            begun = time.monotonic()
            self._look()
            pause = max(_PAUSE, _SHARE * (time.monotonic() - begun))

    def _look(self) -> None:
        try:
            status = self._reader.read()
        except (SnakefoldError, OSError):  # a file is being replaced; a damaged one is told of by the steps
            return
        with self._lock:
            self._status = status
            if self._live is not None:
                self._draw()
                return
            # The panel has them as long as the run goes on.
            new = [text for text in status.warnings if text not in self._warned]
            self._warned.update(new)
            self._print([f"warning: {text}" for text in new])
            due = self._said_at is None or time.monotonic() - self._said_at >= self._interval
            if status.steps and due and not self._ended.is_set():
                self._said_at = time.monotonic()
                self._print([line(status)])

    def _draw(self) -> None:
        """Redraw the panel, if it looks different."""
        if self._live is None or self._status is None or self._ended.is_set():
            return
        from rich.console import Group

        console = self._live.console
        _measure(console, self._stream)
        failures = [clean(text) for text in list(self._failures.values())[-_MOST_FAILURES:]]
        notes = [*failures, f"{'log':<11} {self._log}", *([self._note] if self._note else [])]
        # The last column stays free: some terminals wrap a line that fills it.
        found = lines(self._status, console.width - 1, notes)
        plain = [str(console.size), *(text.plain for text in found)]
        if plain != self._shown:
            self._shown = plain
            with contextlib.suppress(OSError):
                self._live.update(Group(*found), refresh=True)

    def _print(self, told: Sequence[str]) -> None:
        width = _width(self._stream) if self._live is not None else None
        try:
            for text in map(clean, told):
                cut = width is not None and len(text) > width and not text.startswith(_WHOLE)
                print(f"{text[: width - 1]}…" if cut and width else text, file=self._stream)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone, or the reader of a pipe
            return


def _live(stream: TextIO, colour: bool) -> Live:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream, force_terminal=True, no_color=None if colour else True, highlight=False)
    return Live(
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )


def _measure(console: Console, stream: TextIO) -> None:
    """Take the terminal's size: rich asks the standard streams, which are in the log."""
    with contextlib.suppress(OSError):
        size = os.get_terminal_size(stream.fileno())
        if size.columns and size.lines:
            console.size = size


def _width(stream: TextIO) -> int | None:
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None
