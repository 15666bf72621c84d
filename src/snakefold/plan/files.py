"""The files of `results/plan/`: what the plan step writes and every later step reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from operator import attrgetter
from pathlib import Path

from snakefold.contracts import Key, Model, TargetInput
from snakefold.contracts import Sequence as Residues
from snakefold.errors import Refusal
from snakefold.reuse.found import Found
from snakefold.store import write_atomically


class State(StrEnum):
    """`state` column of targets.tsv."""

    TO_DO = "to_do"
    STORED = "stored"
    DUPLICATE_OF = "duplicate_of"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A row of targets.tsv: one record of the input, in the input's order.

    `reason` says why the state is what it is. A refused record has only that, `source` and what it calls
    itself; its id is unique too. `key` is the sequences' (`recipes.sequence_key`), `batch` that of the target
    computed for it, `bucket` the length that is padded to (empty: its own), `seconds` and `dollars` its share
    of what the batch is expected to take of a worker (0 unless it is to do), `source` the file and
    line, `note` what was changed in the sequence. `header` is safe to show: on one line, nothing unprintable.
    """

    id: str
    state: State
    reason: str = ""
    duplicate_of: str = ""
    length: int | None = None
    chains: int | None = None
    key: str = ""
    batch: str = ""
    bucket: int | None = None
    seconds: float = 0.0
    dollars: float = 0.0
    source: str = ""
    note: str = ""
    header: str = ""


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A row of chains.tsv: a chain to search, the chunk that does, and the first batch that needs it."""

    key: str
    length: int
    chunk: str
    batch: str


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A row of batches.tsv; `chunks` are joined by commas, `residues` count no padding.

    `gpu` is a class of resources/gpus.yaml, empty for a batch that only fetches what is there (`s…` from the
    store, `r…` from a collection). `seconds` are expected of one worker, from its start to the end of the
    batch: process start, parameters and compilation included; `dollars` is their price. `memory_gb` is the
    GPU memory of its largest target; `runtime_seconds` a generous limit for a scheduler.
    """

    batch: str
    engine: str
    gpu: str
    padded_length: int | None
    targets: int
    residues: int
    shortest: int
    longest: int
    chunks: str
    seconds: float = 0.0
    dollars: float = 0.0
    memory_gb: float = 0.0
    runtime_seconds: int = 0


class PlannedTarget(Model):
    """A target of a batch; `msa_path` is the A3M it brings, `found` the structure taken for it, if any."""

    target: TargetInput
    msa_path: str | None = None
    found: Found | None = None


class PlannedBatch(Model):
    """`batches/<batch>.json`. `chunks` are the MSA chunks that must be done before the batch is requested.

    `recipe` names the results in the store; `msa_recipes` maps the key of each chain to that of its MSA.
    """

    batch: str
    engine: str
    gpu: str = ""
    recipe: str
    msa_recipes: dict[Key, str]
    rehearsal: bool
    padded_length: int | None
    chunks: list[str]
    targets: list[PlannedTarget]


class PlannedChain(Model):
    """A chain to search."""

    key: Key
    sequence: Residues


class PlannedChunk(Model):
    """`chunks/<chunk>.json`: chains searched by one MSA job, in the order of the batches that need them.

    `pairing`: databases for pairing the chains of a complex are searched as well.
    """

    chunk: str
    recipe: str
    pairing: bool = False
    chains: list[PlannedChain]


def read_batch(folder: Path, batch: str) -> PlannedBatch:
    """Read one batch of the plan in `folder`."""
    return PlannedBatch.model_validate_json((folder / "batches" / f"{batch}.json").read_text())


def read_rows(folder: Path) -> list[BatchRow]:
    """Read batches.tsv of the plan in `folder`."""
    with (folder / "batches.tsv").open(newline="", encoding="utf-8") as stream:
        return [_typed_row(row) for row in csv.DictReader(stream, delimiter="\t")]


def read_chunk(folder: Path, chunk: str) -> PlannedChunk:
    """Read one chunk of the plan in `folder`."""
    return PlannedChunk.model_validate_json((folder / "chunks" / f"{chunk}.json").read_text())


@dataclass(frozen=True)
class PlanFiles:
    """All that `results/plan/` holds."""

    targets: Sequence[TargetRow]
    chains: Sequence[ChainRow]
    batches: Sequence[PlannedBatch]
    chunks: Sequence[PlannedChunk]
    refusals: Sequence[Refusal]


def write_plan(folder: Path, plan: PlanFiles) -> None:
    """Write a plan, the tables last, and remove what an earlier plan had more of.

    A file that stays as it was is not touched, so that nothing made from it looks out of date.
    """
    members: dict[Path, PlannedBatch | PlannedChunk] = {
        folder / "batches" / f"{batch.batch}.json": batch for batch in plan.batches
    }
    members |= {folder / "chunks" / f"{chunk.chunk}.json": chunk for chunk in plan.chunks}
    for path, member in members.items():
        _write(path, member.model_dump_json(indent=1) + "\n")
    for kind in ("batches", "chunks"):
        for path in (folder / kind).glob("*.json"):
            if path not in members:
                path.unlink()
    refusals = [asdict(refusal) for refusal in plan.refusals]
    _write(folder / "refusals.json", json.dumps(refusals, indent=1, ensure_ascii=False) + "\n")
    _write(folder / "chains.tsv", _table(ChainRow, plan.chains))
    _write(folder / "batches.tsv", _table(BatchRow, [_row(batch) for batch in plan.batches]))
    _write(folder / "targets.tsv", _table(TargetRow, plan.targets))


def _typed_row(row: Mapping[str, str]) -> BatchRow:
    whole = {name: int(row[name]) for name in ("targets", "residues", "shortest", "longest")}
    return BatchRow(
        batch=row["batch"],
        engine=row["engine"],
        gpu=row["gpu"],
        padded_length=int(row["padded_length"]) if row["padded_length"] else None,
        **whole,
        chunks=row["chunks"],
        seconds=float(row["seconds"]),
        dollars=float(row["dollars"]),
        memory_gb=float(row["memory_gb"]),
        runtime_seconds=int(row["runtime_seconds"]),
    )


def _row(batch: PlannedBatch) -> BatchRow:
    lengths = [planned.target.length for planned in batch.targets]
    return BatchRow(
        batch=batch.batch,
        engine=batch.engine,
        gpu=batch.gpu,
        padded_length=batch.padded_length,
        targets=len(lengths),
        residues=sum(lengths),
        shortest=min(lengths),
        longest=max(lengths),
        chunks=",".join(batch.chunks),
    )


def _table(
    kind: type[TargetRow | ChainRow | BatchRow], rows: Iterable[TargetRow | ChainRow | BatchRow]
) -> str:
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    names = [field.name for field in fields(kind)]
    table.writerow(names)
    table.writerows(map(attrgetter(*names), rows))
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    data = text.encode()
    if not (path.is_file() and path.read_bytes() == data):
        write_atomically(path, data)
