"""What a run cost: quote against bill, where the workers' time went, and each target's share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from snakefold.kernel.documents import read_document
from snakefold.plan.quote.model import Quote, Range, hours, money, seconds, spread
from snakefold.run.bill.bill import THIS, Against, Bill
from snakefold.run.bill.lines import LOST, Line, read_lines

#: Parts of a worker's time, in the order they are drawn: column of bill.tsv → name.
PARTS = {
    "predict": "predicting",
    "relax": "relaxing",
    "compile": "compiling",
    "load": "loading",
    "start": "starting",
    "idle": "idle",
    "other": "other",
}
#: GPU class of batches that ran on the machine Snakemake ran on: nobody rented it.
_LOCAL = "local"

_Kind = TypeVar("_Kind", bound=BaseModel)


@dataclass(frozen=True)
class Compared:
    """An amount as it was quoted and as it came out, in words; `verdict` is empty where none was expected."""

    name: str
    quoted: str
    billed: str
    verdict: str


@dataclass(frozen=True)
class Part:
    """A part of the workers' time; `share` from 0 to 1."""

    name: str
    share: float
    time: str


@dataclass(frozen=True)
class Costs:
    """Costs of a run; empty where there is no bill.

    Attributes:
        compared: quote against bill.
        parts: where the workers' time went; the shares add up to 1.
        busy: share of the workers' time that went into predicting: the GPU's work.
        rented: any of that time was paid for.
        targets: id → (seconds, dollars) in this run.
        history: id → what its jobs went through, sentence by sentence, where there is anything to tell.
        notes: what the bill warns of.
    """

    compared: list[Compared] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    busy: float | None = None
    rented: bool = False
    targets: dict[str, tuple[float, float]] = field(default_factory=dict)
    history: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_costs(results: Path) -> Costs:
    """Costs of the run in `results`, since its last plan.

    Raises:
        SnakefoldError: bill.json, bill.tsv or the quote is damaged.
    """
    path = results / "bill.json"
    if not path.is_file():
        return Costs()
    bill = _read(Bill, path)
    lines = [line for line in read_lines(results / "bill.tsv") if line.run == THIS]
    batches = [line for line in lines if line.level == "batch" and line.seconds]
    spent = sum(line.seconds for line in batches)
    parts = _parts(batches, spent)
    targets: dict[str, tuple[float, float]] = {}
    for line in lines:
        if line.level == "target":
            before = targets.get(line.id, (0.0, 0.0))
            targets[line.id] = before[0] + line.seconds, before[1] + line.dollars
    return Costs(
        compared=_compared(bill, _wall(results / "plan" / "quote.json")),
        parts=parts,
        busy=next((part.share for part in parts if part.name == PARTS["predict"]), 0.0) if spent else None,
        rented=any(line.gpu != _LOCAL for line in batches),
        targets=targets,
        history=_history(lines),
        notes=bill.warnings,
    )


def _history(lines: Sequence[Line]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.level != "target":
            continue
        where = f"batch {line.batch} on {line.gpu}"
        if line.state == LOST:
            found.setdefault(line.id, []).append(f"A job of {where} was lost after {seconds(line.seconds)}.")
        elif line.attempts > 1:
            found.setdefault(line.id, []).append(f"The job of {where} took {line.attempts} attempts.")
    return found


def _compared(bill: Bill, wall: Range | None) -> list[Compared]:
    rows: list[tuple[str, Against | None, Callable[[float], str]]] = [
        ("Dollars", bill.dollars, money),
        ("Worker time", bill.hours, hours),
        ("Alignments, CPU time", bill.msa_cpu_hours, hours),
        ("Alignments, GPUs", bill.msa_dollars, money),
    ]
    found = [
        Compared(name, spread(against.quoted, show), show(against.billed), verdict(against))
        for name, against, show in rows
        if against is not None and (against.billed or against.quoted.expected)
    ]
    if found and wall is not None and wall.expected:
        found.append(Compared("Wall time", spread(wall, hours), "", ""))
    return found


def verdict(against: Against) -> str:
    """`1.3 times, within the range`."""
    if against.ratio is None:
        return ""
    low, high = against.quoted.low, against.quoted.high
    place = "below" if against.billed < low else "above" if against.billed > high else "within"
    return f"{against.ratio:.2g} times what was expected, {place} the range"


def _parts(batches: Sequence[Line], spent: float) -> list[Part]:
    sums = {column: sum(getattr(line, column) for line in batches) for column in PARTS}
    if not spent:
        return []
    # Measured parts may overlap by rounding, and what no part accounts for is `other`.
    sums["other"] = max(0.0, spent - sum(value for column, value in sums.items() if column != "other"))
    whole = sum(sums.values())
    return [Part(PARTS[column], value / whole, seconds(value)) for column, value in sums.items() if value > 0]


def _wall(path: Path) -> Range | None:
    return _read(Quote, path).wall_hours if path.is_file() else None


def _read(kind: type[_Kind], path: Path) -> _Kind:
    return read_document(kind, path, what="part of a bill", advice="Run `snakefold bill` again.")
