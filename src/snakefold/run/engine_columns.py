"""Columns of metrics.tsv that engines add; what results record of them where an engine is not installed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.engines.spec import Column
from snakefold.kernel.contracts import TargetOutcome
from snakefold.kernel.parquet import is_empty
from snakefold.plan.provenance import columns_of

#: What a batch's table has besides scores and the columns of every run.
_OF_FAILURES = frozenset(TargetOutcome.model_fields)


def engine_columns(names: Iterable[str], results: Path, known: Collection[str]) -> dict[str, Column]:
    """The own columns of these engines.

    An engine that is not installed is looked up in provenance.json. Runs before 0.3 recorded nothing there:
    their metrics.parquet tells the columns, if the report was written while the engine was installed.

    Args:
        names: engines that structures were made with.
        known: columns that every run has.
    """
    columns: dict[str, Column] = {}
    provenance: Mapping[str, Any] | None = None
    unrecorded = False
    for name in dict.fromkeys(names):
        engine = engines.find(name)
        if engine is not None:
            columns |= engine.columns
            continue
        if provenance is None:
            provenance = _provenance(results)
        recorded = columns_of(provenance, name)
        unrecorded |= recorded is None
        columns |= recorded or {}
    if unrecorded:
        written = _written(results / "metrics.parquet")
        columns |= {name: each for name, each in written.items() if name not in {*known, *columns}}
    return columns


def undocumented(rows: Sequence[Mapping[str, Any]], known: Collection[str]) -> dict[str, Column]:
    """Columns of rows that nothing is recorded of but their values, of engines that are not installed."""
    gone = {name for name in {str(row["engine"]) for row in rows} if engines.find(name) is None}
    values: dict[str, list[Any]] = {}
    for row in rows:
        if row["engine"] in gone:
            for name, value in row.items():
                if name not in known and name not in _OF_FAILURES and not is_empty(value):
                    values.setdefault(name, []).append(value)
    return {name: Column(_kind(found), "", "") for name, found in values.items()}


def _kind(values: Iterable[Any]) -> type:
    """The type of all values; a table of a batch has whole numbers as floats where one is missing."""
    found = {bool if isinstance(value, bool) else type(value) for value in values}
    if found <= {int, float}:
        return float if float in found else int
    return found.pop() if found in ({bool}, {str}) else str


def _provenance(results: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _written(path: Path) -> dict[str, Column]:
    """Columns of a metrics.parquet, with meanings and units; none of a file that cannot be read."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {pa.string(): str, pa.bool_(): bool, pa.int64(): int, pa.float64(): float}
    try:
        schema = parquet.read_schema(path)
    except (OSError, pa.ArrowException):
        return {}
    found = {}
    for field in schema:
        notes = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        if field.type in kinds:
            found[field.name] = Column(kinds[field.type], notes.get("unit", ""), notes.get("meaning", ""))
    return found
