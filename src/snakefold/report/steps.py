"""Which step of a run took how long: Snakemake's benchmark files, added up."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from snakefold.plan.quote.units import seconds


@dataclass(frozen=True)
class Step:
    """A step: `seconds`, `wall` and `cpu` of all its jobs, `longest` of one, `share` of the first step."""

    name: str
    jobs: int
    seconds: float
    wall: str
    longest: str
    cpu: str
    memory: str
    share: float


def read_steps(results: Path) -> list[Step]:
    """Steps with a benchmark file, the longest first; jobs elsewhere count with their waiting."""
    folder = results / "benchmarks"
    found: dict[str, list[tuple[float, float, float]]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        place = path.relative_to(folder)
        name = place.parts[0] if len(place.parts) > 1 else path.stem
        found.setdefault(name, []).extend(_rows(path))
    walls = {name: sum(row[0] for row in rows) for name, rows in found.items()}
    longest = max(walls.values(), default=0.0)
    return [
        Step(
            name=name,
            jobs=len(rows),
            seconds=walls[name],
            wall=seconds(walls[name]),
            longest=seconds(max(row[0] for row in rows)),
            cpu=seconds(cpu) if (cpu := sum(row[1] for row in rows)) else "–",
            memory=f"{memory:,.0f} MB" if (memory := max(row[2] for row in rows)) else "–",
            share=walls[name] / longest if longest else 0.0,
        )
        for name, rows in sorted(found.items(), key=lambda item: -walls[item[0]])
        if rows
    ]


def _rows(path: Path) -> list[tuple[float, float, float]]:
    """Wall seconds, CPU seconds and MB of memory of every job in a file."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        return [(_number(row, "s"), _number(row, "cpu_time"), _number(row, "max_rss")) for row in rows]


def _number(row: dict[str, str], column: str) -> float:
    """A column's value; Snakemake writes `-` or `NA` where it could not measure."""
    try:
        return float(row.get(column) or 0)
    except ValueError:
        return 0.0
