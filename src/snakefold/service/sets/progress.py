"""How far a run is, as the service shows it: from `run.status`."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import SnakefoldError
from snakefold.run.designs.places import STAGE
from snakefold.run.status.model import Status, Step
from snakefold.run.status.read import Reader

#: Runs whose files are remembered, and seconds for which what was read of one is good enough.
_MOST, _FRESH = 256, 1.0


class _Known:
    def __init__(self, results: Path) -> None:
        self.lock = threading.Lock()
        self.readers = [Reader(results), Reader(results / STAGE)]
        self.read = float("-inf")
        self.found: dict[str, Any] | None = None


class Progress:
    """Reads runs again and again, for many who ask: each at most once a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Path, _Known] = OrderedDict()

    def of(self, results: Path) -> dict[str, Any] | None:
        """How far a run is; None while nothing can be said."""
        with self._lock:
            known = self._known.pop(results, None) or _Known(results)
            self._known[results] = known
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        with known.lock:
            if time.monotonic() - known.read >= _FRESH:
                known.found = _read(known.readers)
                known.read = time.monotonic()
            return known.found


def progress_of(results: Path) -> dict[str, Any]:
    """How far a run is, read once.

    Raises:
        SnakefoldError: the folder has no run, or a file of it is damaged.
    """
    return _shown(Reader(results).read())


def _read(readers: list[Reader]) -> dict[str, Any] | None:
    for reader in readers:  # the second: of a design run, whose sequences are designed first
        try:
            return _shown(reader.read())
        except (SnakefoldError, OSError):
            continue
    return None


def _shown(status: Status) -> dict[str, Any]:
    shown = {
        "state": status.state,
        "done": status.done,
        "failed": status.failed,
        "total": status.targets,
        "refused": status.refused,
        "steps": [
            {"name": step.name, "done": step.done, "running": step.running, "total": step.total}
            for step in status.steps
        ],
        "stages": [*map(_step, status.steps), *(_at_work(each) for each in status.at_work)],
        "failures": [
            {"id": each.id, "reason": each.reason, "message": each.message} for each in status.failures
        ],
        "rehearsal": status.rehearsal,
        "remaining": None if status.remaining is None else round(status.remaining),
        "dollars": status.dollars,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _step(step: Step) -> str:
    running = f", {step.running} running" if step.running else ""
    return f"{step.name}: {step.done} of {step.total}{running}"


def _at_work(each: Any) -> str:
    target = f" {each.target} ({each.length} residues): {each.stage}" if each.target else ""
    return f"{each.batch}:{target or f' {each.done} of {each.total}'}"
