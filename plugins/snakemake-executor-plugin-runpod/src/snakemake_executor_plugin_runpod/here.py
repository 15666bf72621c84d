"""Job groups of rules without an endpoint: each runs in a Snakemake of its own on this machine.

Core runs local rules itself, but it takes groups apart only where everything is local.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable


class Processes:
    """Commands that core has put together (and quoted) for a shell."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, command: str) -> Callable[[], int | None]:
        """Returns a function that tells the exit code, None while it runs."""
        process = subprocess.Popen(
            ["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._running.append(process)
        return process.poll

    def end(self) -> None:
        """Ctrl-C for all of them: Snakemake ends its own jobs then."""
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
        for process in self._running:
            process.wait()
