"""Snakemake's benchmark files: what jobs took by its clock, and how long each step of a run took."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from snakefold.kernel import tables
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.quote.model import seconds


class Took(NamedTuple):
    """A job: wall and CPU seconds, MB of memory; None where Snakemake could not measure (`-`, `NA`)."""

    wall: float | None
    cpu: float | None
    memory: float | None


@dataclass(frozen=True, slots=True)
class _Row:
    s: str = ""
    cpu_time: str = ""
    max_rss: str = ""


def read_benchmark(path: Path) -> list[Took]:
    """The jobs of a benchmark file; none if it is missing or damaged, for no result depends on it."""
    try:
        rows = tables.read(path, _Row)
    except (OSError, SnakefoldError):
        return []
    return [Took(_number(row.s), _number(row.cpu_time), _number(row.max_rss)) for row in rows]


def last_job(path: Path) -> Took:
    """The last job of a benchmark file: earlier ones are attempts that failed."""
    return (read_benchmark(path) or [Took(None, None, None)])[-1]


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


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
    found: dict[str, list[Took]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        place = path.relative_to(folder)
        name = place.parts[0] if len(place.parts) > 1 else path.stem
        found.setdefault(name, []).extend(read_benchmark(path))
    walls = {name: sum(row.wall or 0.0 for row in rows) for name, rows in found.items()}
    longest = max(walls.values(), default=0.0)
    return [
        Step(
            name=name,
            jobs=len(rows),
            seconds=walls[name],
            wall=seconds(walls[name]),
            longest=seconds(max(row.wall or 0.0 for row in rows)),
            cpu=seconds(cpu) if (cpu := sum(row.cpu or 0.0 for row in rows)) else "–",
            memory=f"{memory:,.0f} MB" if (memory := max(row.memory or 0.0 for row in rows)) else "–",
            share=walls[name] / longest if longest else 0.0,
        )
        for name, rows in sorted(found.items(), key=lambda item: -walls[item[0]])
        if rows
    ]
