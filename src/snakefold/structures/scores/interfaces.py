"""Scores of the interface of two chains: contacts, ipSAE, pDockQ2, and ipTM approximated from the PAE.

PAE: float [L, L] in Å, row = residue aligned on, column = residue scored. The stored PAE has 8 bits
(0.125 Å a unit), which moves ipSAE and pDockQ2 by less than 0.01 (tests/unit/test_scores.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gemmi
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
            # A calcium ion is called CA as well.
            alpha = residue.find_atom("CA", "*", gemmi.Element("C"))
            beta = residue.find_atom("CB", "*", gemmi.Element("C")) or alpha
            for atom, points in ((alpha, ca), (beta, cb)):
                if atom is not None:
                    points[row] = atom.pos.tolist()
    return ModelPoints(chains, ca, cb)


#: CB atoms (CA of glycine) at most so far apart are a contact, Å.
CONTACT = 8.0
#: ipSAE takes pairs with a PAE below this, Å: the value of the paper.
IPSAE_CUTOFF = 10.0
#: Distance scale of pDockQ2, Å.
_PDOCKQ2_D0 = 10.0

Floats = NDArray[np.float64]


def contacts(first: Floats, second: Floats) -> NDArray[np.bool_]:
    """Residues of two chains that touch, bool [A, B], from CB coordinates [A, 3] and [B, 3]; NaN does not."""
    squared = ((first[:, None, :] - second[None, :, :]) ** 2).sum(axis=2)
    return squared <= CONTACT**2


def interface_d0(residues: NDArray[np.int64] | int) -> Floats:
    """Distance scale of ipSAE and ipTM, Å: 1.24 (L − 15)^⅓ − 1.8 above 26 residues, at least 1."""
    count = np.maximum(np.asarray(residues, dtype=np.float64), 26)
    return np.asarray(np.maximum(1.0, 1.24 * np.cbrt(count - 15) - 1.8))


def ipsae(pae: Floats, inside: slice, other: slice, cutoff: float = IPSAE_CUTOFF) -> float:
    """ipSAE of a pair of chains, the larger of both directions; 0 to 1.

    Of every residue i of one chain: the mean of 1 / (1 + (PAE_ij / d0)²) over the residues j of the other
    with PAE_ij below the cutoff, where d0 is for the number of those j. The best i counts.

    Source: Dunbrack 2025, doi:10.1101/2025.02.10.637595 (d0res, as its program `ipsae.py` by default).
    """
    return max(_ipsae_of(pae[inside, other], cutoff), _ipsae_of(pae[other, inside], cutoff))


def iptm_from_pae(pae: Floats, inside: slice, other: slice) -> float:
    """ipTM of a pair of chains approximated from the PAE, the larger of both directions; 0 to 1.

    The best mean over the other chain of 1 / (1 + (PAE_ij / d0)²), d0 for the residues of both chains. The
    engine's ipTM is the expectation of that term over the predicted distribution of errors, which PAE, its
    mean, does not tell; the two differ.

    Source: Dunbrack 2025, doi:10.1101/2025.02.10.637595 (ipTM_d0chn); term: Evans et al. 2021,
    doi:10.1101/2021.10.04.463034.
    """
    blocks = (pae[inside, other], pae[other, inside])
    d0 = interface_d0(sum(blocks[0].shape))
    return max(float((1 / (1 + (block / d0) ** 2)).mean(axis=1).max()) for block in blocks)


def pdockq2(pae: Floats, plddt: Floats, touching: NDArray[np.bool_], inside: slice, other: slice) -> float:
    """pDockQ2 of a pair of chains, the larger of both directions; 0 without a contact.

    Mean pLDDT of the residues in contact times the mean of 1 / (1 + (PAE / 10 Å)²) over the contacts,
    through the sigmoid fitted to DockQ: 1.31 / (1 + exp(−0.075 (x − 84.733))) + 0.005. The paper scores a
    chain against all others; a pair's own score, and contacts of CB atoms, are as in Dunbrack 2025.

    Source: Zhu et al. 2023, doi:10.1093/bioinformatics/btad424.

    Args:
        plddt: [L], 0 to 100.
        touching: `contacts` of the two chains.
    """
    if not touching.any():
        return 0.0
    at_interface = np.concatenate([plddt[inside][touching.any(axis=1)], plddt[other][touching.any(axis=0)]])
    there, back = pae[inside, other][touching], pae[other, inside].T[touching]
    closeness = max(float((1 / (1 + (errors / _PDOCKQ2_D0) ** 2)).mean()) for errors in (there, back))
    return float(1.31 / (1 + np.exp(-0.075 * (at_interface.mean() * closeness - 84.733))) + 0.005)


def _ipsae_of(block: Floats, cutoff: float) -> float:
    close = block < cutoff
    count = close.sum(axis=1)
    terms = np.where(close, 1 / (1 + (block / interface_d0(count)[:, None]) ** 2), 0.0)
    return float((terms.sum(axis=1) / np.maximum(count, 1)).max())
