"""The rows of the index: every record of the input, as columns, since ten thousand rows are one file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.plan.files import State
from snakefold.report.run import Run, description, shortened
from snakefold.run.metrics import METRICS_COLUMNS

#: Ids that have a page. An id becomes a path and an address, and metrics.tsv may have been edited by hand.
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: Texts of the index are shown on one line.
_MAX_TEXT = 160
#: Columns of metrics.tsv that a row says in another way, or not at all.
_LEFT_OUT = {"id", "key", "state", "rehearsal", "stored", "relaxed", "recycles", "model", "warnings"}


def is_safe(name: str) -> bool:
    """Whether an id may become a path and an address."""
    return _SAFE.fullmatch(name) is not None


def pages(results: Path, run: Run) -> list[str]:
    """Ids of the targets that get a page, in the order of the input."""
    return [
        row["id"]
        for row in run.metrics
        if row["model"]
        and is_safe(row["id"])
        and (results / "structures" / row["id"] / "confidence.json").is_file()
    ]


def index_columns(run: Run, profiles: Mapping[str, str]) -> dict[str, list[Any]]:
    """Columns of equal length: those of metrics.tsv that are shown, and what the run adds.

    Columns of the run: `state` (computed, stored, reused, duplicate, failed, refused), `reason` of a failure,
    `open` (it has a page), `profile` (`pages.profile`, or empty), `dollars`, `header`, `note`, `warnings`,
    `history` of its jobs, `duplicate_of`, `rehearsal` where some targets are one and others are not. Columns
    without any value are left out. Numbers have five digits.

    Args:
        run: The run.
        profiles: id → profile of the targets that have a page.
    """
    rows = _rows(run, profiles)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    kept = {
        name: values for name, values in columns.items() if any(value not in (None, "") for value in values)
    }
    return {"id": [], "state": [], **kept}  # those two even if there is no row


def own_columns(run: Run) -> list[dict[str, Any]]:
    """Columns that only the run's engines have: name, meaning, digits, and whether it is a number.

    The engine comes first if there are several. A column without values and a text that is the same for all
    are left out. Columns of an affinity are `early`; the rows are sorted by the one with `sort`.
    """
    several = len({row.get("engine") for row in run.metrics}) > 1
    meaning = METRICS_COLUMNS["engine"].meaning
    engine = {"name": "engine", "title": "Engine", "meaning": meaning, "digits": 0, "number": False}
    affinities = _affinities(run)
    return [engine] * several + [
        {
            "name": name,
            "meaning": f"{column.meaning} ({column.unit})" if column.unit else column.meaning,
            "digits": 0 if column.type is int else 3,
            "number": column.type in (int, float),
            **affinities.get(name, {}),
        }
        for name, column in run.columns.items()
        if name not in METRICS_COLUMNS and (name in affinities or _tells(run, name, text=column.type is str))
    ]


def _tells(run: Run, name: str, *, text: bool) -> bool:
    """Whether some target has a value; of a text, whether they differ."""
    return len({row.get(name) or "" for row in run.metrics} - {""}) > int(text)


def _affinities(run: Run) -> dict[str, dict[str, Any]]:
    """How columns of affinities are shown. A screen is sorted by them: the tightest binder is first."""
    found = {}
    for name in {str(row.get("engine")) for row in run.metrics}:
        columns = engines.affinity(name)
        if columns is None:
            continue
        have = sum(row.get(columns.value) is not None for row in run.metrics)
        found[columns.value] = {"title": "Affinity", "early": True, "sort": have > 1, "digits": 2}
        if columns.probability:
            found[columns.probability] = {"title": "P (binds)", "early": True, "digits": 2}
    return found


def _rows(run: Run, profiles: Mapping[str, str]) -> list[dict[str, Any]]:
    done = {row["id"]: row for row in run.metrics}
    failures = {row["id"]: row for row in [*run.failed, *run.refused]}
    order = dict.fromkeys([*run.planned, *done, *failures])
    return [
        _done(run, done[name], profiles) if name in done else _failed(run, name, failures[name])
        for name in order
        if name in done or name in failures
    ]


def _done(run: Run, row: Mapping[str, Any], profiles: Mapping[str, str]) -> dict[str, Any]:
    name = row["id"]
    cost = run.costs.targets.get(name)
    shown = {key: _short(value) for key, value in row.items() if key not in _LEFT_OUT}
    if cost is not None:
        shown |= {"seconds": _short(cost[0]), "dollars": _short(cost[1])}
    return {
        "id": name,
        "state": _state(run, row),
        "rehearsal": "REHEARSAL" if row.get("rehearsal") and run.mixed else "",
        **shown,
        "open": 1 if name in profiles else 0,
        "profile": profiles.get(name, ""),
        "warnings": shortened(row["warnings"], _MAX_TEXT),
        "history": "; ".join(run.costs.history.get(name, ())),
        **_planned(run, name),
    }


def _failed(run: Run, name: str, row: Mapping[str, str]) -> dict[str, Any]:
    planned = run.planned.get(name)
    refused = row["state"] == State.REFUSED
    cost = run.costs.targets.get(name)
    return {
        "id": name,
        "state": "refused" if refused else "failed",
        "length": planned.length if planned else None,
        "seconds": _short(cost[0]) if cost else None,
        "dollars": _short(cost[1]) if cost else None,
        "open": 0,
        "profile": "",
        "reason": row.get("reason", ""),
        "warnings": shortened(row.get("message", ""), _MAX_TEXT),
        **_planned(run, name),
    }


def _planned(run: Run, name: str) -> dict[str, str]:
    planned = run.planned.get(name)
    return {
        "header": shortened(description(planned), _MAX_TEXT),
        "note": shortened(planned.note if planned else "", _MAX_TEXT),
        "duplicate_of": run.duplicate_of(name),
    }


def _state(run: Run, row: Mapping[str, Any]) -> str:
    if run.duplicate_of(row["id"]):
        return "duplicate"
    if row.get("reused"):
        return "reused"
    return "stored" if row.get("stored") else "computed"


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
