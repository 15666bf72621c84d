"""Chains to search, as the plan hands them to a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from snakefold.kernel.contracts import Key, Model
from snakefold.kernel.contracts import Sequence as Residues
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.names import shown


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
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SnakefoldError(
            f"{path}: cannot be read ({error.strerror}). Expected a file that the plan step writes."
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise SnakefoldError(
            f"{path}: is no {kind.__name__.removeprefix('Planned').lower()} of a plan "
            f"({shown(f'{where}: ' * bool(where) + first['msg'])}). Remove "
            f"{path.parent.parent / 'batches.tsv'} and run again: a new plan is made."
        ) from error


def read_chunk(folder: Path, chunk: str) -> PlannedChunk:
    """Read one chunk of the plan in `folder`."""
    return PlannedChunk.model_validate_json((folder / "chunks" / f"{chunk}.json").read_text())
