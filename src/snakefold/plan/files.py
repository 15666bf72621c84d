"""The files of `results/plan/`: what the plan step writes and every later step reads."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from snakefold.contracts import Key, Model, Sequence, TargetInput


class State(StrEnum):
    """`state` column of targets.tsv."""

    TO_DO = "to_do"
    STORED = "stored"
    DUPLICATE_OF = "duplicate_of"
    REFUSED = "refused"


class PlannedTarget(Model):
    """A target of a batch; `msa_path` is the A3M it brings, if it brings one."""

    target: TargetInput
    msa_path: str | None = None


class PlannedBatch(Model):
    """`batches/<batch>.json`. `chunks` are the MSA chunks that must be done before the batch is requested.

    `recipe` and `msa_recipe` are digests: they name the results in the store.
    """

    batch: str
    engine: str
    recipe: str
    msa_recipe: str
    rehearsal: bool
    padded_length: int | None
    chunks: list[str]
    targets: list[PlannedTarget]


class PlannedChain(Model):
    """A chain to search."""

    key: Key
    sequence: Sequence


class PlannedChunk(Model):
    """`chunks/<chunk>.json`: chains searched by one MSA job, in the order of the batches that need them."""

    chunk: str
    recipe: str
    chains: list[PlannedChain]


def read_batch(folder: Path, batch: str) -> PlannedBatch:
    """Read one batch of the plan in `folder`."""
    return PlannedBatch.model_validate_json((folder / "batches" / f"{batch}.json").read_text())


def read_chunk(folder: Path, chunk: str) -> PlannedChunk:
    """Read one chunk of the plan in `folder`."""
    return PlannedChunk.model_validate_json((folder / "chunks" / f"{chunk}.json").read_text())
