"""A model against a known structure: TM-score and RMSD by TM-align, and lDDT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snakefold.structures import files as structures
from snakefold.structures import superposition
from snakefold.structures.scores.target import ReferenceScores

#: Pairs of the reference closer than this count, Å.
INCLUSION_RADIUS = 15.0
#: A distance is preserved to within these, Å; the shares of the four are averaged.
TOLERANCES = (0.5, 1.0, 2.0, 4.0)


def reference_scores(folder: Path, reference: Path) -> ReferenceScores:
    """Scores of a target's best model against a known structure; writes `superposed.pdb` into its folder.

    TM-align pairs residues by where they are, lDDT by sequence: it has no superposition. Residues of the
    reference that the model lacks lower both.

    Raises:
        SnakefoldError: a file is missing or cannot be compared; the text names it.
    """
    found = superposition.compare(folder, reference)
    ours, theirs = (
        {trace.name: trace for trace in structures.ca_traces(structures.read_file(path))}
        for path in (structures.model_file(folder, 0), reference)
    )
    placed = []
    for name, other in found.chains:
        pairs = residue_pairs(ours[name].sequence, theirs[other].sequence)
        points = np.full_like(theirs[other].coordinates, np.nan)
        points[pairs[:, 1]] = ours[name].coordinates[pairs[:, 0]]
        placed.append(points)
    known = np.concatenate([theirs[other].coordinates for _, other in found.chains])
    preserved = lddt(np.concatenate(placed), known)
    return ReferenceScores(
        file=reference.name,
        tm=round(found.tm_score, 4),
        lddt=None if preserved is None else round(preserved, 4),
        rmsd=round(found.rmsd, 3),
        aligned=len(found.pairs),
        length=len(known),
        chains=found.chains,
    )


def lddt(model: NDArray[np.float64], reference: NDArray[np.float64]) -> float | None:
    """lDDT of atoms that correspond one to one; 0 to 1, None if no two of the reference's are within 15 Å.

    The share of the reference's distances up to 15 Å that the model has too, averaged over tolerances of 0.5,
    1, 2 and 4 Å. With one CA atom a residue this is lDDT-Cα, which pLDDT predicts.

    Source: Mariani et al. 2013, doi:10.1093/bioinformatics/btt473.

    Args:
        model: [n, 3] in Å; NaN for an atom that the model lacks: its distances count as lost.
        reference: [n, 3] in Å.

    Raises:
        ValueError: shapes differ.
    """
    if model.shape != reference.shape or model.ndim != 2 or model.shape[1] != 3:
        raise ValueError(f"lDDT: expected two arrays [n, 3], found {model.shape} and {reference.shape}.")
    known = _distances(reference)
    first, second = np.nonzero(np.triu(known < INCLUSION_RADIUS, 1))
    if not len(first):
        return None
    change = np.abs(_distances(model)[first, second] - known[first, second])
    return float(np.mean([(change < tolerance).mean() for tolerance in TOLERANCES]))


def residue_pairs(model: str, reference: str) -> NDArray[np.int64]:
    """Corresponding residues by sequence, int [n, 2]; global alignment, ends free.

    BLOSUM62 with gaps of −11 and −1, so that an engineered residue or a tag costs no neighbour.
    """
    from Bio.Align import PairwiseAligner, substitution_matrices

    aligner = PairwiseAligner(mode="global", substitution_matrix=substitution_matrices.load("BLOSUM62"))
    aligner.open_gap_score, aligner.extend_gap_score, aligner.end_gap_score = -11, -1, 0
    blocks = aligner.align(model, reference)[0].aligned
    pairs = [
        np.stack([np.arange(start, end), np.arange(other, other + end - start)], axis=1)
        for (start, end), (other, _) in zip(*blocks, strict=True)
    ]
    return np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)


def _distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(points, points))
