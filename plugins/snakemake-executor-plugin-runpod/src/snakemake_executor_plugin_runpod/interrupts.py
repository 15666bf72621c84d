"""Signals that end a run: one KeyboardInterrupt for a burst of them, and none while the run is being ended.

`timeout`, systemd, CI and impatient people send two or three within a second. Snakemake calls `cancel` for
the first; a second one would be raised in the middle of it, and leave jobs at work that cost money.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

#: Signals that follow one another within so many seconds are one request.
BURST = 2.0
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupts:
    """What this process does with SIGINT, SIGTERM and SIGHUP.

    Attributes:
        ignored: signals that were not raised, as they came while the run was being ended.
    """

    def __init__(self) -> None:
        self.ignored = 0
        self._holding = 0
        self._last = float("-inf")

    def install(self) -> None:
        """Take the signals over. SIGTERM too: core's own handler would wait for running jobs, for hours."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            current = signal.getsignal(number)
            # What was started in the background of a script, or with nohup, ignores these on purpose.
            ignores = current is signal.SIG_IGN and number != signal.SIGTERM
            if current != self.receive and not ignores:
                signal.signal(number, self.receive)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No signal is raised inside."""
        self._holding += 1
        try:
            yield
        finally:
            self._last = time.monotonic()
            self._holding -= 1

    def receive(self, _: int, __: FrameType | None) -> None:
        """The handler.

        Raises:
            KeyboardInterrupt: the first of a burst, while nothing is being ended.
        """
        now = time.monotonic()
        if self._holding or now - self._last < BURST:
            self.ignored += 1
            return
        self._last = now
        raise KeyboardInterrupt
