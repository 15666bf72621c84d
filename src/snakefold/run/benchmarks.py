"""Snakemake's benchmark files: what jobs took by its clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from snakefold.kernel import tables
from snakefold.kernel.errors import SnakefoldError


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
