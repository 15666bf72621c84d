"""results/timings.tsv: what a run took, in a row for every target, batch and chunk that it computed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from snakefold.kernel import tables
from snakefold.run.calibration.observations import (
    BatchSeconds,
    ChunkSeconds,
    Observations,
    TargetSeconds,
    read_observations,
)


def write_timings(results: Path) -> Observations:
    """Write `timings.tsv` into a results folder: a row for every target, batch and chunk computed."""
    found = read_observations(results)
    columns = (
        "kind", "name", "batch", "gpu", "device", "engine", "length", "padded_length", "targets", "chains",
        "residues", "network", "features", "compile", "relax", "load", "wall", "cpu",
    )  # fmt: skip
    rows: list[dict[str, object]] = [
        _row(item, kind="target", name=item.target, engine=item.work.engine, wall=item.seconds)
        for item in found.targets
    ]
    rows += [_row(item, kind="batch", name=item.batch, engine=item.work.engine) for item in found.batches]
    rows += [_row(item, kind="chunk", name=item.chunk, engine=item.settings.tool) for item in found.chunks]
    cells = ([row.get(name) for name in columns] for row in rows)
    tables.write(results / "timings.tsv", tables.lines(columns, cells, floats=".3f"))
    return found


def _row(item: TargetSeconds | BatchSeconds | ChunkSeconds, **named: object) -> dict[str, object]:
    return {each.name: getattr(item, each.name) for each in fields(item)} | named
