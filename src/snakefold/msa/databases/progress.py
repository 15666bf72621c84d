"""Progress of long steps: a bar on a terminal, a line at every twentieth elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from snakefold.kernel.download import lines

#: Called with how much is done, and of how much if that is known.
Step = Callable[[int, int | None], None]


class Reporter:
    """Tells a person how far a fetch is."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def log(self, line: str) -> None:
        """One line."""
        print(line, file=self._stream, flush=True)

    @contextmanager
    def task(self, name: str, *, counts: bool = False) -> Iterator[Step]:
        """A step called `name`; it is told of bytes, or, with `counts`, of files."""
        if not self._stream.isatty():
            yield _counted(name, self.log) if counts else lines(name, self.log)
            return
        from rich import progress as bars
        from rich.console import Console

        amount = bars.MofNCompleteColumn() if counts else bars.DownloadColumn()
        speed = [] if counts else [bars.TransferSpeedColumn()]
        columns = (
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            amount,
            *speed,
            bars.TimeRemainingColumn(),
        )
        with bars.Progress(*columns, console=Console(file=self._stream)) as shown:
            task = shown.add_task(name, total=None)
            yield lambda done, total: shown.update(task, completed=done, total=total)


def _counted(name: str, log: Callable[[str], None]) -> Step:
    shown = -1

    def report(done: int, total: int | None) -> None:
        nonlocal shown
        step = done * 20 // total if total else done // 1000
        if step != shown:
            shown = step
            log(f"{name}: {done:,} of {total:,}" if total else f"{name}: {done:,}")

    return report
