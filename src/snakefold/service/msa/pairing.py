"""Rows of the chains of a complex, paired by species: the best row of each species, as ColabFold pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from snakefold.msa import a3m

#: What ColabFold's server calls a row of gaps, beside which other chains have one.
_ABSENT = "DUMMY"


def paired(chains: Sequence[a3m.Msa], *, complete: bool) -> list[a3m.Msa]:
    """An alignment of each chain, its query first; rows with the same number are of one species.

    Args:
        chains: each chain's rows for pairing, best first, whose names have the species (UniProt's).
        complete: only species of which every chain has a row. If not, those of two chains or more; a chain
            that has none has a row of gaps.
    """
    from alphafold.data.msa_identifiers import get_identifiers

    best: list[dict[str, int]] = []
    for msa in chains:
        of_chain: dict[str, int] = {}
        for number, name in enumerate(msa.names[1:], 1):
            if species := get_identifiers(name).species_id:
                of_chain.setdefault(species, number)
        best.append(of_chain)
    counts = Counter(species for of_chain in best for species in of_chain)
    least = len(chains) if complete else min(2, len(chains))
    # A chain alone has no partner. Most chains first: readers cut at a number of rows.
    shared = [species for species, number in counts.items() if number >= least and len(chains) > 1]
    shared.sort(key=lambda species: -counts[species])
    return [_of_chain(msa, [own.get(each) for each in shared]) for msa, own in zip(chains, best, strict=True)]


def _of_chain(msa: a3m.Msa, rows: Sequence[int | None]) -> a3m.Msa:
    """The query, and these rows; gaps for None."""
    gaps = "-" * len(msa.query)
    return a3m.Msa(
        [msa.names[0], *(_ABSENT if row is None else msa.names[row] for row in rows)],
        [msa.query, *(gaps if row is None else msa.rows[row] for row in rows)],
    )
