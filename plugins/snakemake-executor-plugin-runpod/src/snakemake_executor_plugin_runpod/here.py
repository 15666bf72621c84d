"""Jobs that run on this machine, each in a Snakemake of its own: groups whose rules name no endpoint (core
runs local rules itself, but takes groups apart only where everything is local), and what RunPod could not
run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

#: For a Snakemake to end its jobs.
_PATIENCE_SECONDS = 30.0


@dataclass(eq=False)
class _Entry:
    command: str
    threads: int
    process: subprocess.Popen[bytes] | None = None


class Processes:
    """Commands that core has put together (and quoted) for a shell; as many at once as `cores` has room for.

    Core counts their jobs among the remote ones, which it does not hold to the cores of this machine.
    """

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._waiting: deque[_Entry] = deque()
        self._running: list[_Entry] = []
        self._ended = False
        self._lock = threading.Lock()

    def start(self, command: str, threads: int = 1) -> Callable[[], int | None]:
        """Run it as soon as there is room; returns what tells the exit code, None before its end."""
        entry = _Entry(command, min(max(1, threads), self._cores))
        self._waiting.append(entry)

        def code() -> int | None:
            self._go_on()
            return None if entry.process is None else entry.process.poll()

        return code

    def _go_on(self) -> None:
        with self._lock:
            self._running = [
                entry for entry in self._running if entry.process and entry.process.poll() is None
            ]
            free = self._cores - sum(entry.threads for entry in self._running)
            # In their order: a large job waits for room, and small ones do not overtake it for ever.
            while self._waiting and self._waiting[0].threads <= free and not self._ended:
                entry = self._waiting.popleft()
                entry.process = subprocess.Popen(
                    ["/bin/sh", "-c", entry.command], stdin=subprocess.DEVNULL, start_new_session=True
                )
                self._running.append(entry)
                free -= entry.threads

    def end(self) -> None:
        """End all of them, with the jobs they have started; no other begins any more.

        By SIGTERM: whoever was started in the background of a script ignores SIGINT, and so do its children.
        """
        with self._lock:
            self._ended = True
        processes = [entry.process for entry in self._running if entry.process is not None]
        for process in processes:
            _tell(process, signal.SIGTERM)
        for process in processes:
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                _tell(process, signal.SIGKILL)
                process.wait()


def end_children() -> None:
    """End what core's own executor runs here: a terminal's Ctrl-C reaches it, a SIGTERM of this process not.

    Core would wait for it, for hours where it searches databases.
    """
    found = psutil.Process().children(recursive=True)
    for child in found:
        with contextlib.suppress(psutil.Error):
            child.terminate()
    _, alive = psutil.wait_procs(found, _PATIENCE_SECONDS)
    for child in alive:
        with contextlib.suppress(psutil.Error):
            child.kill()


def _tell(process: subprocess.Popen[bytes], what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, what)
