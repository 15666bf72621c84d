"""Tokens: what a network gives confidence by. Standard residues are one each; of all others each atom is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import SnakefoldError


@dataclass(frozen=True)
class Tokens:
    """T tokens, in the order of a target's chains.

    Attributes:
        chain: index of the chain of each, from 0; ascending.
        residue: number in the chain of each, from 1; a ligand's components are numbered too.
        atom: name of the atom, if a token is one; empty if it is a residue.
    """

    chain: Sequence[int]
    residue: Sequence[int]
    atom: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.chain) == len(self.residue) == len(self.atom):
            raise SnakefoldError(
                f"Tokens have {len(self.chain)} chains, {len(self.residue)} residues and {len(self.atom)} "
                "names of atoms: one of each is expected for every token."
            )

    def __len__(self) -> int:
        return len(self.chain)

    def mean_by_residue(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Mean [R] over the tokens of each residue, of values by token [T]."""
        places = np.stack([np.asarray(self.chain), np.asarray(self.residue)])
        changes = np.ones(len(self), dtype=bool)
        changes[1:] = np.any(np.diff(places, axis=1) != 0, axis=0)
        starts = np.flatnonzero(changes)
        counts = np.diff([*starts, len(self)])
        sums = np.add.reduceat(np.asarray(values, dtype=np.float64), starts)
        return np.asarray(sums / counts, dtype=np.float64)

    def by_chain(self, chains: int) -> list[int]:
        """How many tokens each of so many chains has."""
        return np.bincount(np.asarray(self.chain, dtype=int), minlength=chains).tolist()

    def to_json(self) -> dict[str, Any]:
        """Content of tokens.json: three lists of T."""
        return {"chain": list(self.chain), "residue": list(self.residue), "atom": list(self.atom)}
