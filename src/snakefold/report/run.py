"""What a run left behind, read for the page: tables, the plan, and what it was made with."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from snakefold.engines.spec import Column
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.files import State
from snakefold.report.costs import Costs, read_costs
from snakefold.report.steps import Step, read_steps
from snakefold.run.metrics import columns_for

#: Headers and messages are shown up to this many characters; the plan has them whole.
MAX_SHOWN = 600
#: Engine of structures that were taken, not predicted.


@dataclass(frozen=True)
class Run:
    """Rows in the order of the input; `metrics` has the types of `metrics.columns_for`, None where empty."""

    metrics: list[dict[str, Any]]
    failed: list[dict[str, str]]
    refused: list[dict[str, str]]
    planned: dict[str, dict[str, str]]
    provenance: Mapping[str, Any]
    costs: Costs
    steps: list[Step]

    @property
    def rehearsal(self) -> bool:
        """Whether any result was made with random parameters."""
        return any(row.get("rehearsal") for row in self.metrics)

    def duplicate_of(self, target: str) -> str:
        """Id of the target that was computed for this one, or an empty text."""
        return self.planned.get(target, {}).get("duplicate_of", "")

    def summary(self) -> dict[str, Any]:
        """Figures for the head of the page."""
        plddt = [row["mean_plddt"] for row in self.metrics if row.get("mean_plddt") is not None]
        duplicates = sum(item["state"] == State.DUPLICATE_OF for item in self.planned.values())
        unique = [row for row in self.metrics if not self.duplicate_of(row["id"])]
        return {
            "folded": len(self.metrics),
            "what": "structure" if any(row.get("model") for row in self.metrics) else "result",
            "failed": len(self.failed),
            "refused": len(self.refused),
            "duplicates": duplicates,
            "stored": sum(bool(row.get("stored")) and not row.get("reused") for row in unique),
            "reused": sum(bool(row.get("reused")) for row in unique),
            "residues": sum(row.get("length") or 0 for row in self.metrics),
            "median_plddt": round(median(plddt), 1) if plddt else None,
            "seconds": round(sum(row.get("seconds") or 0 for row in unique), 1),
            "engines": sorted(
                {row["engine"] for row in self.metrics if row.get("engine") and not row.get("reused")}
            ),
        }


def read_run(results: Path) -> Run:
    """Read `results/`.

    Raises:
        SnakefoldError: metrics.tsv is missing or has a value of the wrong kind; the text names it.
    """
    metrics = results / "metrics.tsv"
    if not metrics.is_file():
        raise SnakefoldError(f"{metrics}: not found. Expected the results folder of a finished run.")
    failures = _table(results / "failures.tsv")
    rows = _table(metrics)
    columns = columns_for(row.get("engine") or "" for row in rows)
    plan = results / "plan"
    planned = {row["id"]: row for row in _table(plan / "targets.tsv", quoted=True) if row.get("id")}
    for row in failures:
        row["header"] = description(planned.get(row["id"], {}))
    refused = [row for row in failures if row["state"] == State.REFUSED]
    return Run(
        metrics=[_typed(metrics, row, columns) for row in rows],
        failed=[_shown(row) for row in failures if row["state"] != State.REFUSED],
        refused=[_shown(row) for row in _with_advice(refused, _json(plan / "refusals.json", []))],
        planned=planned,
        provenance=_json(results / "provenance.json", {}),
        costs=read_costs(results),
        steps=read_steps(results),
    )


def description(planned: Mapping[str, str]) -> str:
    """What a record's header says besides its id."""
    name, header = planned.get("id", ""), planned.get("header", "")
    return shortened(header.removeprefix(name).strip() if header.split()[:1] == [name] else header)


def shortened(text: str, most: int = MAX_SHOWN) -> str:
    """`text`, cut where it would fill the page."""
    return text if len(text) <= most else f"{text[:most]}…"


def _with_advice(refused: list[dict[str, str]], refusals: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Refused rows with message and advice apart: targets.tsv, where they come from, joins the two."""
    if len(refused) != len(refusals):
        return refused
    return [
        {**row, "message": str(item["message"]), "advice": str(item["advice"]), "reason": str(item["code"])}
        for row, item in zip(refused, refusals, strict=True)
    ]


def _shown(row: Mapping[str, str]) -> dict[str, str]:
    return {name: shortened(value or "") for name, value in row.items() if name}


def _table(path: Path, quoted: bool = False) -> list[dict[str, str]]:
    """Rows of a table; the plan's are quoted as CSV is, those of the results are plain."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        if quoted:
            return list(csv.DictReader(stream, delimiter="\t"))
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def _json(path: Path, otherwise: Any) -> Any:
    if not path.is_file():
        return otherwise
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SnakefoldError(f"{path}: is no JSON ({error}). Delete it and run again.") from error


def _typed(path: Path, row: Mapping[str, str], columns: Mapping[str, Column]) -> dict[str, Any]:
    typed: dict[str, Any] = {}
    for name, column in columns.items():
        text = row.get(name) or ""
        try:
            typed[name] = _value(column.type, text)
        except ValueError as error:
            raise SnakefoldError(
                f"{path}: target {row.get('id')!r}, column {name}: expected {column.type.__name__}, "
                f"found {text!r:.60}. Delete the file and run again."
            ) from error
    return typed


def _value(kind: type, text: str) -> Any:
    if kind is str:
        return text
    if not text:
        return None
    if kind is bool:
        if text not in ("True", "False"):
            raise ValueError(text)
        return text == "True"
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return int(number) if kind is int else number
