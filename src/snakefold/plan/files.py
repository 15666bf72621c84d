"""The files of `results/plan/`: what the plan step writes and every later step reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, Field

from snakefold.engines.reuse.found import Found
from snakefold.kernel import tables
from snakefold.kernel.contracts import BucketEdges, Key, Model, TargetId, TargetInput
from snakefold.kernel.documents import read_document
from snakefold.msa.planned import plan_again, read_planned

Row = TypeVar("Row")

#: The file of `PlannedParameters`.
WEIGHTS = "weights.json"
#: What to do about a damaged table of the plan.
PLANNED_ANEW = "Run again: it is planned anew."


class State(StrEnum):
    """`state` column of targets.tsv."""

    TO_DO = "to_do"
    STORED = "stored"
    REUSED = "reused"
    DUPLICATE_OF = "duplicate_of"
    REFUSED = "refused"


class Kind(StrEnum):
    """What becomes of a batch: `kind` column of batches.tsv; a name of the rule that makes its archive."""

    PREDICT = "predict"
    RESTORE = "restore"
    REUSE = "reuse"


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A row of targets.tsv: one record of the input, in the input's order.

    `reason` says why the state is what it is. A refused record has only that, `source` and what it calls
    itself; its id is unique too. `key` is the sequences' (`recipes.sequence_key`), `engine` what folds it,
    `batch` that of the target computed for it, `bucket` the length that is padded to (empty: its own),
    `seconds` and `dollars` its share of what the batch is expected to take of a worker (0 unless it is to
    do), `source` the file and line, `note` what was changed in the sequence. `header` is safe to show: on one
    line, nothing unprintable.
    """

    id: str
    state: State
    reason: str = ""
    duplicate_of: str = ""
    length: int | None = None
    chains: int | None = None
    key: str = ""
    engine: str = ""
    batch: str = ""
    bucket: int | None = None
    seconds: float = 0.0
    dollars: float = 0.0
    source: str = ""
    note: str = ""
    header: str = ""


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A row of chains.tsv: a chain to search, the chunk that does, and the first batch that needs it.

    `missing` is what the store lacks of it: `msa`, `templates`, or both, joined by a comma. A row with
    `pairs` is a complex, and `length` that of its different chains.
    """

    key: str
    length: int
    missing: str
    chunk: str
    batch: str


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A row of batches.tsv; `chunks` and `bucket_edges` are joined by commas, `residues` count no padding.

    `residues`, `shortest` and `longest` are in the engine's `size_unit`: residues, or tokens.

    `group`: of the engine (`engines.spec.Engine.groups`). `bucket_edges` are those of
    `contracts.FoldRequest`. `gpu` is a class of resources/gpus.yaml, empty for a batch that only fetches what
    is there (`s…` from the store, `r…` from a collection). `parts` are the batches with parts of the seeds of
    its targets, joined by commas: it waits for them. `seconds` are expected of one worker, from its
    start to the end of the batch: process start, parameters and compilation included; `dollars` is their
    price. `memory_gb` is the GPU memory of its largest target; `runtime_seconds` a generous limit for a
    scheduler.
    """

    batch: str
    kind: str = field(default="", kw_only=True)
    engine: str
    group: str = field(default="", kw_only=True)
    gpu: str
    bucket_edges: str
    targets: int
    residues: int
    shortest: int
    longest: int
    chunks: str
    seconds: float = 0.0
    dollars: float = 0.0
    memory_gb: float = 0.0
    runtime_seconds: int = 0
    parts: str = ""

    @property
    def part(self) -> int | None:
        """Which part of the seeds of its targets it predicts, from 0 on; None: all of them."""
        return part_of(self.batch)

    @property
    def edges(self) -> list[int]:
        """The bucket edges as numbers."""
        return [int(edge) for edge in self.bucket_edges.split(",") if edge]


@dataclass(frozen=True, slots=True)
class Place:
    """Of a row of targets.tsv, what tells where its result is."""

    id: str
    batch: str = ""
    key: str = ""


def part_of(batch: str) -> int | None:
    """Which part of the seeds a batch predicts, by its name; None: all of them."""
    found = _PART.search(batch)
    return int(found[1]) - 1 if found else None


class PlannedTarget(Model):
    """A target of a batch; `msa_path` is the A3M it brings, `found` the structure taken for it, if any.

    `files` are those of the alignments and templates that an assembly brings, by digest.
    `duplicates` are the ids of other records that get the same result.
    """

    target: TargetInput
    duplicates: list[TargetId] = Field(default_factory=list)
    msa_path: str | None = None
    files: dict[str, str] = Field({}, exclude_if=lambda value: not value)
    found: Found | None = None


class PlannedBatch(Model):
    """`batches/<batch>.json`. `chunks` are the MSA chunks that must be done before the batch is requested.

    `recipe` names the results in the store, and `engine_recipe` is the engine's part of it; `msa_recipes`
    maps the key of each chain to that of its MSA, and `paired` are those chains that are searched for pairing
    as well. `templates` is the recipe of the chains' templates, None if none are searched. `pairs` is the
    recipe of rows that an MSA server pairs, and `complexes` are the keys of what it pairs: the different
    chains of a target, in order. `parts`, if seeds of the targets are predicted in parts, are the recipes of
    the parts in the store, and `part_batches` those of this plan that predict some.
    """

    batch: str
    engine: str
    gpu: str = ""
    recipe: str
    engine_recipe: dict[str, Any] = Field(default_factory=dict)
    msa_recipes: dict[Key, str]
    paired: list[Key] = Field(default_factory=list)
    templates: str | None = None
    pairs: str | None = Field(None, exclude_if=lambda value: value is None)
    complexes: list[Key] = Field(default_factory=list, exclude_if=lambda value: not value)
    rehearsal: bool
    bucket_edges: BucketEdges = Field(default_factory=list)
    chunks: list[str]
    parts: list[str] = Field(default_factory=list, exclude_if=lambda value: not value)
    part_batches: list[str] = Field(default_factory=list, exclude_if=lambda value: not value)
    targets: list[PlannedTarget]

    @property
    def part(self) -> int | None:
        """Which part of the seeds it predicts; None: all of them."""
        return part_of(self.batch)


class PlannedParameters(Model):
    """`weights.json`: where the parameters of each engine are, and whether some are random.

    Plans of releases before 0.3 had one engine and one `folder`. `absent`: engines that records were refused
    for, because something of them is not installed.
    """

    model_config = ConfigDict(extra="ignore")

    rehearsal: bool
    folders: dict[str, str] | None = Field(None, exclude_if=lambda value: value is None)
    folder: str = Field("", exclude_if=lambda value: not value)
    absent: list[str] = Field(default_factory=list, exclude_if=lambda value: not value)


def read_batch(folder: Path, batch: str) -> PlannedBatch:
    """Read one batch of the plan in `folder`. Raises as `read_planned`."""
    return read_planned(PlannedBatch, folder / "batches" / f"{batch}.json")


def read_rows(folder: Path) -> list[BatchRow]:
    """Read batches.tsv of the plan in `folder`.

    Raises:
        SnakefoldError, OSError: see `tables.rows`.
    """
    rows = tables.read(folder / "batches.tsv", BatchRow, advice=PLANNED_ANEW)
    # Plans of releases before 0.3 have no kind: there, the name told it.
    return [row if row.kind else replace(row, kind=_KINDS.get(row.batch[:1], Kind.PREDICT)) for row in rows]


def read_targets(folder: Path, row: type[Row]) -> Iterator[Row]:
    """Rows of targets.tsv of the plan in `folder`: `TargetRow`, or a dataclass with some of its fields.

    Raises:
        SnakefoldError, OSError: see `tables.rows`.
    """
    return tables.rows(folder / "targets.tsv", row, advice=PLANNED_ANEW)


def read_chains(folder: Path) -> list[ChainRow]:
    """Read chains.tsv of the plan in `folder`.

    Raises:
        SnakefoldError, OSError: see `tables.rows`.
    """
    return tables.read(folder / "chains.tsv", ChainRow, advice=PLANNED_ANEW)


def planned_parameters(folder: Path, engine: str) -> str:
    """Folder of an engine's parameters that the plan in `folder` chose; empty if it brings its own.

    Raises:
        SnakefoldError: as `read_parameters`.
    """
    chosen = read_parameters(folder)
    return chosen.folder if chosen.folders is None else chosen.folders.get(engine, "")


def read_parameters(folder: Path) -> PlannedParameters:
    """Read weights.json of the plan in `folder`.

    Raises:
        SnakefoldError: the file is missing, or damaged; it says what to do.
    """
    return read_document(
        PlannedParameters, folder / WEIGHTS, what="the parameters of a plan", advice=plan_again(folder)
    )


_PART = re.compile(r"-p([0-9]+)$")
_KINDS = {"s": Kind.RESTORE, "r": Kind.REUSE}
