"""Which step of a run took how long: Snakemake's benchmark files, added up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from snakefold.plan.quote.units import seconds
from snakefold.run.benchmarks import Took, read_benchmark


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
