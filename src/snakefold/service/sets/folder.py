"""The folder of a set, and how it is found.

sets/<id>/set.json       whose it is, its title, its settings: written once
          input/         the files that were sent, under safe names
          settings.yaml  settings of the run, as `snakefold run --configfile` reads them
          plan/          the plan that the quote was made from
          quote.json     the quote, as it is shown
          cancelled.json the user wanted no run of it
          processes/     which processes were started for it
          logs/          what they said
          results/       the results of the run
sets/.of/<user>/<id>     the sets of a user; ids begin with the time, so their order is that of submission
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snakefold.kernel.store import write_atomically
from snakefold.service import records
from snakefold.service.records import Record
from snakefold.service.settings import ServiceSettings

SETS, INPUT, RESULTS, PLAN = "sets", "input", "results", "plan"
QUOTE, CANCELLED = "quote.json", "cancelled.json"


@dataclass(frozen=True)
class Set:
    """What was sent.

    Attributes:
        folder: its folder; its name is the id.
        name: a title, free text.
        created: seconds since the epoch.
        inputs: files that have targets, relative to `folder`; files that only these name are left out.
        settings: of the run, as the user gave them.
        accept: it was accepted when it was sent, within `budget` (dollars; None: whatever it costs).
        quota: of the user when it was sent (`users.Quota`).
        notes: what was done to the files.
        tags: of a client of WES.
    """

    folder: Path
    user: str
    name: str
    created: float
    inputs: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    accept: bool = False
    budget: float | None = None
    priority: int = 0
    quota: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its name."""
        return self.folder.name

    @property
    def results(self) -> Path:
        """Folder of results; it may not be there yet."""
        return self.folder / RESULTS


def new_id() -> str:
    """A name that nobody can guess, and that sorts by the time."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dt%H%M%S}{now.microsecond // 1000:03d}-{secrets.token_hex(12)}"


def write(each: Set, settings: ServiceSettings) -> None:
    """Write down a set whose files are there, and list it among those of its user."""
    content = {name: value for name, value in asdict(each).items() if name != "folder"}
    write_atomically(each.folder / "set.json", json.dumps(content, ensure_ascii=False).encode())
    mark = settings.folder / SETS / ".of" / each.user / each.id
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def read(settings: ServiceSettings, name: str) -> Set | None:
    """The set of an id that a client gave; None for whatever is none."""
    if not records.is_id(name):
        return None
    folder = settings.folder / SETS / name
    try:
        said = json.loads((folder / "set.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Set(folder=folder, **{**said, "inputs": tuple(said["inputs"]), "notes": tuple(said["notes"])})


def ids_of(settings: ServiceSettings, user: str, before: str = "") -> list[str]:
    """Ids of a user's sets, the newest first; only those sent before the set of an id, if one is given."""
    try:
        names = [each.name for each in (settings.folder / SETS / ".of" / user).iterdir()]
    except FileNotFoundError:
        return []
    return sorted((name for name in names if not before or name < before), reverse=True)


def quote_record(settings: ServiceSettings, name: str) -> Record | None:
    """The record of a set's quote; None: it was never taken to its end."""
    return records.find(settings.folder / "quotes", name)


def run_record(settings: ServiceSettings, name: str) -> Record | None:
    """The record of a set's run; None: it is not accepted."""
    return records.find(settings.folder / "runs", name)


def load(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none yet."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return content
