"""What a run left behind, read for the page: tables, the plan, and what it was made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from snakefold.engines.spec import Column
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.wording import rehearsal_text
from snakefold.plan.files import State, TargetRow, read_targets
from snakefold.report.costs import Costs, read_costs
from snakefold.run.benchmarks import Step, read_steps
from snakefold.run.failures import read_failures
from snakefold.run.metrics import columns_for, read_metrics

#: Headers and messages are shown up to this many characters; the plan has them whole.
MAX_SHOWN = 600
#: Engine of structures that were taken, not predicted.


@dataclass(frozen=True)
class Run:
    """Rows in the order of the input; `metrics` has the types of `columns`, None where empty."""

    metrics: list[dict[str, Any]]
    columns: Mapping[str, Column]
    failed: list[dict[str, str]]
    refused: list[dict[str, str]]
    planned: dict[str, TargetRow]
    provenance: Mapping[str, Any]
    costs: Costs
    steps: list[Step]

    @property
    def rehearsal(self) -> str:
        """What marks the run if results were made with random parameters, all or some; otherwise empty."""
        return rehearsal_text(sum(bool(row.get("rehearsal")) for row in self.metrics), len(self.metrics))

    @property
    def waiting(self) -> int:
        """Records that have neither a result nor a failure yet."""
        return max(0, len(self.planned) - len(self.metrics) - len(self.failed) - len(self.refused))

    @property
    def mixed(self) -> bool:
        """Whether some results were made with random parameters and others were not."""
        return len({bool(row.get("rehearsal")) for row in self.metrics}) > 1

    def duplicate_of(self, target: str) -> str:
        """Id of the target that was computed for this one, or an empty text."""
        return self.planned[target].duplicate_of if target in self.planned else ""

    def summary(self) -> dict[str, Any]:
        """Figures for the head of the page."""
        plddt = [row["mean_plddt"] for row in self.metrics if row.get("mean_plddt") is not None]
        duplicates = sum(item.state == State.DUPLICATE_OF for item in self.planned.values())
        unique = [row for row in self.metrics if not self.duplicate_of(row["id"])]
        return {
            "folded": len(self.metrics),
            "what": "structure" if all(row.get("model") for row in self.metrics) else "result",
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


def read_run(results: Path, tables: Path | None = None) -> Run:
    """Read `results/`.

    Args:
        tables: folder of metrics.tsv and failures.tsv, if they are elsewhere.

    Raises:
        SnakefoldError: metrics.tsv is missing or has a value of the wrong kind; the text names it.
    """
    tables = tables or results
    table = tables / "metrics.tsv"
    if not table.is_file():
        raise SnakefoldError(f"{table}: not found. Expected the results folder of a finished run.")
    metrics = read_metrics(tables)
    plan = results / "plan"
    has_plan = (plan / "targets.tsv").is_file()
    planned = {row.id: row for row in read_targets(plan, TargetRow)} if has_plan else {}
    failures = [
        {**asdict(row), "header": description(planned.get(row.id))}
        for row in (read_failures(tables) if (tables / "failures.tsv").is_file() else [])
    ]
    refused = [row for row in failures if row["state"] == State.REFUSED]
    return Run(
        metrics=metrics,
        columns=columns_for((row["engine"] for row in metrics), results),
        failed=[_shown(row) for row in failures if row["state"] != State.REFUSED],
        refused=[_shown(row) for row in _with_advice(refused, _json(plan / "refusals.json", []))],
        planned=planned,
        provenance=_json(results / "provenance.json", {}),
        costs=read_costs(results),
        steps=read_steps(results),
    )


def description(planned: TargetRow | None) -> str:
    """What a record's header says besides its id; nothing of one that no plan has."""
    name, header = (planned.id, planned.header) if planned else ("", "")
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
    return {name: shortened(value) for name, value in row.items()}


def _json(path: Path, otherwise: Any) -> Any:
    if not path.is_file():
        return otherwise
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SnakefoldError(f"{path}: is no JSON ({error}). Delete it and run again.") from error
