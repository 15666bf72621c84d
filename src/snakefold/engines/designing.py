"""What an engine gives that designs sequences: `designs.json`, `designs.fa`, and the backbone beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from snakefold.kernel.contracts import Model
from snakefold.kernel.errors import SnakefoldError

NUMBERS, FASTA = "designs.json", "designs.fa"
#: The backbone as it was read, beside them: with the ending of its format.
BACKBONES = ("backbone.cif", "backbone.pdb")


class Native(Model):
    """The backbone's own sequence. Scores are mean negative log-probabilities: lower is better."""

    header: str
    sequence: str = Field(description="Designed chains, joined by '/'; X in gaps.")
    chains: dict[str, str] = Field(description="Designed chains by name.")
    score: float = Field(description="Over the positions that are designed.")
    global_score: float = Field(description="Over all positions with a backbone.")


class Sample(Native):
    """One design."""

    sample: int = Field(ge=1, description="Number, for each temperature from 1.")
    temperature: float
    seed: int
    recovery: float = Field(description="Share of designed positions with the native residue.")


class Designs(Model):
    """`designs.json`: all designs of a backbone."""

    settings: dict[str, float | int | str | bool] = Field(description="Of the engine, as a table has them.")
    designed_chains: list[str]
    fixed_chains: list[str] = Field(description="Other protein chains of the file.")
    fixed_positions: dict[str, list[int]] = Field(description="From 1, gaps included, by chain.")
    tied_positions: list[list[tuple[str, int]]] = Field([], description="Groups with the same residue.")
    conserved: float = Field(
        0.0, description="Share of the positions that stayed as the most conserved ones."
    )
    sequences: dict[str, str] = Field(description="Native sequences of all chains, in the file's order.")
    numbering: dict[str, list[str]] = Field(
        description="Residue numbers of the file by chain, with insertion codes; empty in gaps."
    )
    native: Native
    samples: list[Sample]


def folded(designs: Designs, chains: Mapping[str, str]) -> dict[str, str]:
    """Sequences that are folded, by chain in the file's order: those of `chains` or native ones, no gaps."""
    return {
        name: "".join(
            letter
            for letter, number in zip(chains.get(name, native), designs.numbering[name], strict=True)
            if number
        )
        for name, native in designs.sequences.items()
    }


def read_designs(folder: Path) -> Designs:
    """The designs in a target's folder.

    Raises:
        SnakefoldError: they cannot be read.
    """
    path = folder / NUMBERS
    try:
        return Designs.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        told = error.strerror if isinstance(error, OSError) else error.errors()[0]["msg"]
        raise SnakefoldError(f"{path}: cannot be read ({told}). Run again.") from error


def backbone_file(folder: Path) -> Path:
    """The backbone in a target's folder.

    Raises:
        SnakefoldError: it is not there.
    """
    for name in BACKBONES:
        if (folder / name).is_file():
            return folder / name
    raise SnakefoldError(f"{folder}: has no backbone. Run again.")
