"""Atoms of a model, one row a residue of the target, so that they match its pLDDT and PAE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.wording import count
from snakefold.structures import files as structures


@dataclass(frozen=True)
class ModelPoints:
    """Atoms of a model of L residues; NaN where a residue has none.

    Attributes:
        chains: name and residues (a slice of the L) of every chain.
        ca: CA, [L, 3] in Å.
        cb: CB, or CA where there is none (glycine, a backbone), [L, 3] in Å.
    """

    chains: list[tuple[str, slice]]
    ca: NDArray[np.float64]
    cb: NDArray[np.float64]


def model_points(text: str, chain_lengths: Sequence[int]) -> ModelPoints:
    """Points of a model (PDB or mmCIF) whose residues are numbered from 1 in each chain.

    Raises:
        SnakefoldError: chains or residue numbers are not those of the target.
    """
    model = structures.read(text)[0]
    if len(model) != len(chain_lengths):
        raise SnakefoldError(f"The model has {count(len(model), 'chain')}, the target {len(chain_lengths)}.")
    ends = np.cumsum(chain_lengths).tolist()
    ca, cb = (np.full((ends[-1], 3), np.nan) for _ in range(2))
    chains = []
    for chain, end, length in zip(model, ends, chain_lengths, strict=True):
        chains.append((chain.name, slice(end - length, end)))
        for residue in chain:
            number = residue.seqid.num or 0
            if not 1 <= number <= length:
                raise SnakefoldError(
                    f"Chain {chain.name} has a residue number {number}, expected 1 to {length}."
                )
            row = end - length + number - 1
            alpha = residue.find_atom("CA", "*")
            beta = residue.find_atom("CB", "*") or alpha
            for atom, points in ((alpha, ca), (beta, cb)):
                if atom is not None:
                    points[row] = atom.pos.tolist()
    return ModelPoints(chains, ca, cb)
