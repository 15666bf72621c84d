"""What deployed endpoints do now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from snakefold.clusters.runpod import NotFoundError, Session, get_health
from snakefold.clusters.runpod.deploy import api
from snakefold.clusters.runpod.deploy.checks import Note
from snakefold.clusters.runpod.deploy.desired import Resource
from snakefold.clusters.runpod.deploy.diff import Change, Difference
from snakefold.clusters.runpod.deploy.lock import Lock

_SIGNS = {"create": "+", "update": "~", "keep": "=", "delete": "-"}
_HIDDEN = ("env", "args")


def plan_text(changes: Sequence[Change], notes: Sequence[Note]) -> str:
    """The differences, one resource after the other, then what to know about them."""
    lines: list[str] = []
    for change in changes:
        lines.append(f"{_SIGNS[change.action]} {change.kind} {change.name}" + _id(change))
        if change.action == "create" and change.resource:
            lines += [f"    {name}: {value}" for name, value in _facts(change.resource.body)]
        lines += [f"    {_difference(item)}" for item in change.differences]
    counts = {action: sum(change.action == action for change in changes) for action in _SIGNS}
    lines.append(
        f"{counts['create']} to create, {counts['update']} to update, {counts['delete']} to delete, "
        f"{counts['keep']} as they should be"
    )
    return "\n".join(lines + [f"{note.level}: {note.text}" for note in notes])


def status_text(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a table, the first of them its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _id(change: Change) -> str:
    return f" ({change.id})" if change.id else ""


def _facts(body: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for name, value in body.items():
        if not above and name == "env":
            facts.append(("env", ", ".join(sorted(value)) or "none"))
        elif isinstance(value, Mapping):
            facts += _facts(value, f"{above}{name}.")
        elif value not in (None, "", [], ()) and name not in (*_HIDDEN, "name"):
            facts.append((f"{above}{name}", _shown(value)))
    return facts


def _difference(item: Difference) -> str:
    if item.path == "args":
        return "args: others"
    return f"{item.path}: {_shown(item.before)} → {_shown(item.after)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


HEAD = ("endpoint", "id", "workers", "workersMax", "queued", "running", "$/h of a worker", "note")


def rows(session: Session, wanted: Sequence[Resource], lock: Lock) -> list[tuple[str, ...]]:
    """A row for each endpoint that was deployed, under `HEAD`; dollars at published prices."""
    prices = {one.key: one.dollars_per_second for one in wanted if one.kind == "endpoint"}
    table: list[tuple[str, ...]] = [HEAD]
    for kind, key, identifier in lock.entries():
        if kind != "endpoint":
            continue
        record = api.read(session, "endpoint", identifier)
        if record is None:
            table.append((key, identifier, "", "", "", "", "", "is gone: snakefold deploy apply"))
            continue
        most = (record.get("workers") or {}).get("max")
        states = Counter(str(one.get("status", "?")).lower() for one in api.workers(session, identifier))
        try:
            jobs = get_health(session, identifier).get("jobs") or {}
        except NotFoundError:
            jobs = {}
        price = f"{prices[key] * 3600:.2f}" if key in prices else ""
        table.append(
            (
                key,
                identifier,
                ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none",
                str(most),
                str(jobs.get("inQueue", "?")),
                str(jobs.get("inProgress", "?")),
                price,
                _note(most, states, int(jobs.get("inQueue") or 0)),
            )
        )
    return table


def _note(most: object, states: Counter[str], queued: int) -> str:
    if most == 0:
        return "no job can start: scaled to 0 (a week without requests?); snakefold deploy apply raises it"
    if states["unhealthy"]:
        return "workers fail while they start: read their logs in RunPod's console (they are not billed)"
    if states["throttled"] and queued:
        return "no GPU of its classes is free; add classes, or another data centre"
    return ""
