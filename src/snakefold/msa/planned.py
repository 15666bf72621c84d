"""Chains to search, as the plan hands them to a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from snakefold.kernel.contracts import Key, Model
from snakefold.kernel.contracts import Sequence as Residues
from snakefold.kernel.documents import read_document


class PlannedChain(Model):
    """A chain to search."""

    key: Key
    sequence: Residues


class PlannedComplex(Model):
    """The different chains of a complex, in the order in which they are met, to pair. `key` is theirs."""

    key: Key
    chains: list[Residues] = Field(min_length=2)


class PlannedChunk(Model):
    """`chunks/<chunk>.json`: chains searched by one MSA job, in the order of the batches that need them.

    What the store has by then under `recipe` (MSAs) and `templates` (None: not wanted) is not searched again.
    `pairing`: databases for pairing the chains of a complex are searched as well. `depends_on` says what the
    recipes were made of, by the kind of the store, so that a file that changed since can be named; plans of
    older releases lack it. `complexes` are paired by an MSA server, under the recipe `pairs`.
    """

    chunk: str
    recipe: str
    templates: str | None = None
    pairing: bool = False
    depends_on: dict[str, dict[str, Any]] = Field(default_factory=dict)
    chains: list[PlannedChain]
    pairs: str | None = Field(None, exclude_if=lambda value: value is None)
    complexes: list[PlannedComplex] = Field(default_factory=list, exclude_if=lambda value: not value)


Planned = TypeVar("Planned", bound=Model)


def read_planned(kind: type[Planned], path: Path) -> Planned:
    """Read a batch or a chunk of the plan.

    Raises:
        SnakefoldError: names the file, which is missing or not what it should be.
    """
    what = f"a {kind.__name__.removeprefix('Planned').lower()} of a plan"
    return read_document(kind, path, what=what, advice=plan_again(path.parent.parent))


def plan_again(plan: Path) -> str:
    """What to do about a file of the plan that is missing or damaged."""
    return f"Remove {plan / 'batches.tsv'} and run again: a new plan is made."


def read_chunk(folder: Path, chunk: str) -> PlannedChunk:
    """Read one chunk of the plan in `folder`. Raises as `read_planned`."""
    return read_planned(PlannedChunk, folder / "chunks" / f"{chunk}.json")
