"""Plans and states of a deployment, for people. Values of environment variables appear nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snakefold.clusters.runpod.deploy.checks import Note
from snakefold.clusters.runpod.deploy.diff import Change, Difference

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
