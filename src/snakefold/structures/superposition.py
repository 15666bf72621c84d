"""A model laid over a known structure: TM-score and RMSD by TM-align.

Method: Zhang & Skolnick 2005, doi:10.1093/nar/gki524, as the library tmtools carries it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.kernel.wording import count
from snakefold.structures import files as structures
from snakefold.structures.files import ChainTrace

#: What `compare` writes into a target's folder: PDB, or mmCIF where that cannot hold both structures.
FILES = ("superposed.pdb", "superposed.cif")
#: Chains that may correspond to each other in several ways are tried in at most so many; beyond, name them.
_MAX_PAIRINGS = 720
_MAX_ALIGNMENTS = 24

ChainPair = tuple[str, str]


@dataclass(frozen=True)
class Superposition:
    """The mobile structure laid over the reference.

    Attributes:
        tm_score: TM-score by the length of the reference's chains that were used, 0 to 1.
        rmsd: root mean square distance of the aligned CA pairs, Å.
        pairs: int [n, 2], indices of the aligned CA pairs (mobile, reference) in the order of `chains`.
        chains: chains laid over each other: (mobile, reference).
        rotation, translation: float64 [3, 3] and [3]; `x @ rotation.T + translation` moves x.
        text: both structures as PDB, or mmCIF where that cannot hold them: MODEL 1 is the mobile one, moved;
            MODEL 2 the reference's chains.
    """

    tm_score: float
    rmsd: float
    pairs: NDArray[np.int64]
    chains: list[ChainPair]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    text: str


def superpose(mobile: str, reference: str, chains: Sequence[ChainPair] | None = None) -> Superposition:
    """Lay a structure over a reference (texts, PDB or mmCIF each).

    `chains` pairs the mobile structure's chains with the reference's. Without it, every mobile chain takes
    the reference chain whose sequence is most like its own; identical chains are tried in every order and the
    best TM-score counts. The reference's other chains are left out.

    Raises:
        SnakefoldError: a chain is not there, the reference has fewer chains than the mobile structure, there
            are too many ways to pair them, or fewer than 5 residues.
    """
    moving, fixed = structures.ca_traces(mobile), structures.ca_traces(reference)
    pairings = [_named(chains, moving, fixed)] if chains is not None else _likely(moving, fixed)
    aligned = [_align(pairing) for pairing in pairings]
    pairing, result = max(zip(pairings, aligned, strict=True), key=lambda item: float(item[1].tm_norm_chain2))
    rotation, translation = np.asarray(result.u, dtype=np.float64), np.asarray(result.t, dtype=np.float64)
    names = [(ours.name, theirs.name) for ours, theirs in pairing]
    return Superposition(
        tm_score=float(result.tm_norm_chain2),
        rmsd=float(result.rmsd),
        pairs=_aligned_pairs(result.seqxA, result.seqM, result.seqyA),
        chains=names,
        rotation=rotation,
        translation=translation,
        text=_both(mobile, reference, [theirs for _, theirs in names], rotation, translation),
    )


def likeness(mobile: str, reference: str) -> float:
    """TM-score (0 to 1) of two structures (texts, PDB or mmCIF each) that may have nothing in common.

    All chains of one are laid over all of the other, in the order of the files. The score is by the length of
    the shorter structure, which gives the higher of the two.

    Raises:
        SnakefoldError: one of them has fewer than 5 residues.
    """
    result = _tm_align(structures.ca_traces(mobile), structures.ca_traces(reference))
    return max(float(result.tm_norm_chain1), float(result.tm_norm_chain2))


def compare(folder: Path, reference: Path) -> Superposition:
    """Lay a target's best model over a known structure, and write one of `FILES` into its folder.

    Raises:
        SnakefoldError: a file is missing or cannot be compared; the text names it.
    """
    path = structures.model_file(folder, 0)
    model = structures.read_file(path)
    known = structures.read_file(reference)
    try:
        found = superpose(model, known)
    except SnakefoldError as error:
        raise SnakefoldError(f"{reference}: cannot be compared with {path}: {error}") from error
    rehearsal = structures.REHEARSAL_NOTE in model
    notes = [structures.REHEARSAL_NOTE] if rehearsal else []
    notes.append(
        f"MODEL 1: predicted. MODEL 2: {reference.name}. "
        f"TM-score {found.tm_score:.4f}, RMSD {found.rmsd:.3f} A."
    )
    pdb, cif = FILES
    if found.text.startswith("data_"):
        name, lines = cif, [f"# {note}" for note in notes]
    else:
        name, lines = pdb, structures.remarks(notes)
    write_atomically(folder / name, ("".join(f"{line}\n" for line in lines) + found.text).encode())
    return found


def _named(
    chains: Sequence[ChainPair], moving: Sequence[ChainTrace], fixed: Sequence[ChainTrace]
) -> list[tuple[ChainTrace, ChainTrace]]:
    ours, theirs = {item.name: item for item in moving}, {item.name: item for item in fixed}
    for known, names, what in (
        (ours, [a for a, _ in chains], "model"),
        (theirs, [b for _, b in chains], "reference"),
    ):
        missing = sorted(set(names) - set(known))
        if missing or not names:
            raise SnakefoldError(f"Chains {missing} are not in the {what}, which has {sorted(known)}.")
    return [(ours[a], theirs[b]) for a, b in chains]


def _likely(
    moving: Sequence[ChainTrace], fixed: Sequence[ChainTrace]
) -> list[list[tuple[ChainTrace, ChainTrace]]]:
    """Ways to pair the chains whose summed sequence score is the highest."""
    if len(moving) > len(fixed):
        raise SnakefoldError(
            f"The model has {count(len(moving), 'chain')}, the reference {len(fixed)}. "
            "Name the chains to compare."
        )
    if len(moving) == len(fixed) == 1:
        return [[(moving[0], fixed[0])]]
    ways = list(itertools.islice(itertools.permutations(range(len(fixed)), len(moving)), _MAX_PAIRINGS + 1))
    if len(ways) > _MAX_PAIRINGS:
        raise SnakefoldError("There are too many ways to pair the chains. Name the chains to compare.")
    score = [[_similarity(ours.sequence, theirs.sequence) for theirs in fixed] for ours in moving]
    totals = [sum(score[number][chosen] for number, chosen in enumerate(way)) for way in ways]
    best = [way for way, total in zip(ways, totals, strict=True) if total == max(totals)][:_MAX_ALIGNMENTS]
    return [[(moving[number], fixed[chosen]) for number, chosen in enumerate(way)] for way in best]


def _similarity(ours: str, theirs: str) -> float:
    from Bio.Align import PairwiseAligner

    aligner = PairwiseAligner(mode="global", match_score=1, mismatch_score=0, gap_score=-0.5)
    aligner.end_gap_score = 0
    return float(aligner.score(ours, theirs))


def _align(pairing: Sequence[tuple[ChainTrace, ChainTrace]]) -> Any:
    return _tm_align([item for item, _ in pairing], [item for _, item in pairing])


def _tm_align(mobile: Sequence[ChainTrace], reference: Sequence[ChainTrace]) -> Any:
    import tmtools

    ours, theirs = map(_points, (mobile, reference))
    if min(len(ours), len(theirs)) < 5:
        raise SnakefoldError("TM-align needs at least 5 residues in each structure.")
    sequences = ("".join(item.sequence for item in items) for items in (mobile, reference))
    return tmtools.tm_align(ours, theirs, *sequences)


def _points(traces: Sequence[ChainTrace]) -> NDArray[np.float64]:
    return np.concatenate([np.empty((0, 3)), *(item.coordinates for item in traces)])


def _aligned_pairs(ours: str, marks: str, theirs: str) -> NDArray[np.int64]:
    """Indices of the columns that TM-align marks as aligned (`:` closer than 5 Å, `.` farther)."""
    pairs, first, second = [], 0, 0
    for a, mark, b in zip(ours, marks, theirs, strict=True):
        if mark in ":." and a != "-" and b != "-":
            pairs.append((first, second))
        first, second = first + (a != "-"), second + (b != "-")
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _both(
    mobile: str,
    reference: str,
    wanted: Sequence[str],
    rotation: NDArray[np.float64],
    translation: NDArray[np.float64],
) -> str:
    merged = gemmi.Structure()
    ours, theirs = structures.read(mobile)[0].clone(), structures.read(reference)[0]
    ours.transform_pos_and_adp(
        gemmi.Transform(gemmi.Mat33(rotation.tolist()), gemmi.Vec3(*translation.tolist()))
    )
    ours.num = 1
    merged.add_model(ours)
    known = gemmi.Model(2)
    for name in wanted:
        known.add_chain(theirs[name].clone())
    merged.add_model(known)
    merged.setup_entities()
    if any(len(chain.name) > 1 for chain in known) and len(ours) <= structures.PDB_MAX_CHAINS:
        merged.shorten_chain_names()
    if not structures.fits_pdb(merged):
        merged.name = "superposed"
        return merged.make_mmcif_document().as_string()
    options = gemmi.PdbWriteOptions(minimal=True, cryst1_record=False, end_record=True)
    return merged.make_pdb_string(options)
