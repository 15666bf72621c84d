"""The kinds of work: which function does each, and where its records are.

A further kind is an entry of `KINDS`.
"""

from __future__ import annotations

import pkgutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakefold.service import records
from snakefold.service.records import ATTEMPTS, State
from snakefold.service.settings import ServiceSettings


@dataclass
class Duty:
    """What a worker gives the function that does its work.

    Attributes:
        settings: of the service.
        stop: set when the work is to end before it is done: the record was cancelled, or the worker leaves.
    """

    settings: ServiceSettings
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Ending:
    """How work ended, as `records.end` takes it."""

    state: State
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """One kind of work.

    Attributes:
        folder: below that of the service; records may lie deeper, in a folder of each.
        does: `module:function`, which takes a `Record` and a `Duty` and gives an `Ending`. It may be called
            again for a record that another worker had begun.
        workers: name of the setting that says how many processes do it.
        attempts: workers that may die of a record before it counts as the reason.
        after: `module:function`, which takes a `Record` that has just ended, by whomever; empty: nothing is
            done then. If the process that ended the record dies, it is left out: whatever must not be sees
            to that itself.
        kept: the record is removed with what it belongs to, not by its own age.
    """

    folder: str
    does: str
    workers: str
    attempts: int = ATTEMPTS
    after: str = ""
    kept: bool = False


KINDS: dict[str, Kind] = {
    "job": Kind("jobs", "snakefold.service.jobs:perform", "jobs", after="snakefold.service.webhooks:tell"),
    "ticket": Kind("tickets", "snakefold.service.tickets:perform", "searches"),
    # What computes is a process of its own, and no worker dies of it.
    "quote": Kind("quotes", "snakefold.service.sets.quote:perform", "quotes", attempts=20, kept=True),
    "run": Kind("runs", "snakefold.service.sets.run:perform", "runs", attempts=100, kept=True),
}


def ended(folder: Path) -> None:
    """Do what is done after the end of a record. Whoever ended it calls this."""
    record = records.read(folder)
    kind = KINDS.get(record.kind)
    if kind is not None and kind.after:
        pkgutil.resolve_name(kind.after)(record)


def roots(settings: ServiceSettings) -> list[Path]:
    """Folders that records of all kinds are in."""
    return [settings.folder / name for name in dict.fromkeys(kind.folder for kind in KINDS.values())]
