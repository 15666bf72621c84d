"""A set as the service shows it, and what state it is in: by its records alone."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from snakefold.service.plain import plain_of
from snakefold.service.records import Record
from snakefold.service.records import State as Recorded
from snakefold.service.sets import folder as sets
from snakefold.service.sets.folder import CANCELLED, QUOTE, Set
from snakefold.service.sets.progress import Progress
from snakefold.service.settings import ServiceSettings


class State(enum.StrEnum):
    """Where a set stands. QUOTED waits for its user; from REFUSED, COMPLETE on nothing changes any more."""

    QUOTING = "QUOTING"
    QUOTED = "QUOTED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    REFUSED = "REFUSED"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether nothing will change any more."""
        return self not in (State.QUOTING, State.QUOTED, State.QUEUED, State.RUNNING)


class Amount(BaseModel):
    """An expected value, and how far it may be off."""

    low: float
    expected: float
    high: float


class RefusedRecord(BaseModel):
    """A record of the input that becomes no target."""

    id: str
    reason: str
    file: str
    record: int
    line: int


class QuoteView(BaseModel):
    """What the run is expected to take. `residues`: of the targets to do, which a quota counts."""

    dollars: Amount
    hours: Amount = Field(description="From the start of the run to its last prediction.")
    worker_hours: Amount
    alignment_cpu_hours: Amount
    residues: int
    to_do: int
    stored: int
    engines: dict[str, int] = Field(description="Targets to predict, by engine.")
    rehearsal: bool
    refused: list[RefusedRecord]
    notes: list[str]


class StepView(BaseModel):
    """Jobs of one step of the run."""

    name: str
    done: int
    running: int
    total: int


class FailureView(BaseModel):
    """A target without a structure."""

    id: str
    reason: str
    message: str


class ProgressView(BaseModel):
    """How far the run is; null where nobody knows. What an earlier version did not keep has its default."""

    state: str
    done: int
    failed: int
    total: int
    refused: int = 0
    steps: list[StepView] = []
    stages: list[str] = Field([], description="Lines for people: steps, and what batches work on.")
    failures: list[FailureView] = []
    rehearsal: bool = False
    remaining: int | None = Field(None, description="Seconds that are left.")
    dollars: float | None = Field(None, description="What finished batches cost so far.")


class Links(BaseModel):
    """Addresses of what belongs to a set."""

    self: str
    events: str
    report: str
    files: str
    zip: str


_EXAMPLE: dict[str, JsonValue] = {
    "id": "20261130t153054123-0f8e2c4b6a7d91e3c5b70212",
    "name": "nanobodies",
    "state": "QUOTED",
    "created": "2026-11-30T15:30:54Z",
    "started": None,
    "ended": None,
    "error": "",
    "targets": {"total": 16, "to_do": 12, "stored": 3, "reused": 0, "duplicate_of": 0, "refused": 1},
    "quote": None,
    "progress": None,
    "links": {
        "self": "/api/runs/20261130t153054123-0f8e2c4b6a7d91e3c5b70212",
        "events": "/api/runs/20261130t153054123-0f8e2c4b6a7d91e3c5b70212/events",
        "report": "/api/runs/20261130t153054123-0f8e2c4b6a7d91e3c5b70212/report/",
        "files": "/api/runs/20261130t153054123-0f8e2c4b6a7d91e3c5b70212/files",
        "zip": "/api/runs/20261130t153054123-0f8e2c4b6a7d91e3c5b70212/results.zip",
    },
}


class SetView(BaseModel):
    """A set. Times are UTC; `error` is empty where all is well."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    name: str
    state: State
    created: str
    started: str | None = None
    ended: str | None = None
    error: str = ""
    targets: dict[str, int] | None = Field(None, description="Records by what the plan made of them.")
    quote: QuoteView | None = None
    progress: ProgressView | None = None
    links: Links


def moment(seconds: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def state_of(quote: Record, run: Record | None, *, cancelled: bool) -> State:
    """The state of a set by its records.

    Args:
        cancelled: while it was quoted and waited to be accepted.
    """
    record = run or quote
    if cancelled or record.state is Recorded.CANCELLED:
        return State.CANCELLED
    if record.state in (Recorded.FAILED, Recorded.TIMED_OUT):
        return State.REFUSED if record.ending.get("refused") else State.ERROR
    if run is None:
        return State.QUOTED if quote.state is Recorded.DONE else State.QUOTING
    if run.state is Recorded.DONE:
        return State.COMPLETE if run.ending.get("exit_code") == 0 else State.FAILED
    return State.RUNNING if run.state is Recorded.RUNNING else State.QUEUED


def view(each: Set, settings: ServiceSettings, progress: Progress) -> SetView | None:
    """A set as it stands; None if it was never taken to its end.

    Args:
        progress: reads how far runs are.
    """
    quoted = sets.quote_record(settings, each.id)
    if quoted is None:
        return None
    run = sets.run_record(settings, each.id)
    cancelled = sets.load(each.folder / CANCELLED) if run is None else None
    state = state_of(quoted, run, cancelled=cancelled is not None)
    quote = sets.load(each.folder / QUOTE)
    record = run or quoted
    ended = cancelled["ended"] if cancelled else record.ended if state.final else None
    plain = plain_of(settings)
    told = {
        "id": each.id,
        "name": each.name,
        "state": state,
        "created": moment(each.created),
        "started": moment(run.started if run else None),
        "ended": moment(ended),
        "error": plain(_error(state, record)),
        "targets": {"total": sum(quote["targets"].values()), **quote["targets"]} if quote else None,
        "quote": plain.of(quote),
        "progress": plain.of(_progress(state, run, each, progress)),
        "links": links(each.id),
    }
    return SetView.model_validate(told)


def _error(state: State, record: Record) -> str:
    if state is State.QUOTED:
        return str(record.ending.get("not_accepted", ""))
    if state is State.FAILED:
        failed = (record.ending.get("progress") or {}).get("failed", 0)
        return f"{failed} targets have no structure: failures.tsv says why." if failed != 1 else _ONE_FAILED
    return record.error


_ONE_FAILED = "1 target has no structure: failures.tsv says why."


def _progress(state: State, run: Record | None, each: Set, progress: Progress) -> Mapping[str, Any] | None:
    if run is None:
        return None
    if state.final and "progress" in run.ending:
        found: Mapping[str, Any] = run.ending["progress"]
        return found
    return progress.of(each.results) if run.attempts else None


def links(name: str) -> dict[str, str]:
    """Addresses of what belongs to a set, from the root of the service."""
    own = f"/api/runs/{name}"
    return {
        "self": own,
        "events": f"{own}/events",
        "report": f"{own}/report/",
        "files": f"{own}/files",
        "zip": f"{own}/results.zip",
    }
