"""Alignments as Boltz reads them: a CSV of each protein, `key,sequence`; rows with one key are paired.

Rows that are paired come first, as in what Boltz itself makes of an MSA server's answer. The query has no
key: Boltz puts the queries of all chains side by side anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from snakefold.engines.protein_msas import (
    Keyed,
    Row,
    by_protein,
    paired_by_server,
    rows,
    see_that_rows_fit,
    split,
)
from snakefold.engines.spec import ChainMsa, TargetMsas

#: Boltz's own bound on paired rows (boltz.data.const.max_paired_seqs).
MAX_PAIRED = 8192
_UNPAIRED = -1
#: UniProt's entry names, with the range that a search appends: the species is what follows the last `_`.
_SPECIES = re.compile(
    r"(?:tr|sp)\|[A-Za-z0-9]{6,10}(?:_\d+)?\|[A-Za-z0-9]{1,10}_([A-Za-z0-9]{1,5})(?:/\d+-\d+)?"
)


def alignments(
    proteins: Sequence[str], msas: TargetMsas, without: Iterable[str] = (), *, most: int
) -> dict[str, str]:
    """The CSV of each different protein.

    Args:
        proteins: sequences of what `msas.chains` has an entry for, in order.
        without: sequences that are predicted without an alignment.
        most: rows of a CSV.

    Raises:
        TargetError: msa_failed if an alignment is missing; invalid_input if one is of another sequence.
    """
    if msas.own_a3m is not None:
        return {
            sequence: _csv(sequence, paired, unpaired, most)
            for sequence, (paired, unpaired) in split(msas.own_a3m, list(dict.fromkeys(proteins))).items()
        }
    chains = by_protein(proteins, msas, without)
    paired = _paired(chains, msas.paired)
    return {
        sequence: _csv(sequence, paired.get(sequence, []), list(rows(msa.a3m)), most)
        for sequence, msa in chains.items()
    }


def species(name: str) -> str:
    """The species in a UniProt name; empty if there is none."""
    found = _SPECIES.fullmatch(name.split(maxsplit=1)[0] if name.split() else "")
    return found.group(1) if found else ""


def by_species(pairing: Mapping[str, str]) -> dict[str, list[Keyed]]:
    """Rows for pairing with keys, by sequence: rows of species that two proteins or more have.

    Args:
        pairing: A3M of each protein, the query first, by its sequence.
    """
    known = {
        sequence: [(found, row) for name, row in list(rows(a3m))[1:] if (found := species(name))]
        for sequence, a3m in pairing.items()
    }
    counts: dict[str, int] = {}
    for each in known.values():
        for name in dict.fromkeys(found for found, _ in each):
            counts[name] = counts.get(name, 0) + 1
    keys = {name: number for number, name in enumerate(each for each, n in counts.items() if n > 1)}
    return {
        sequence: [(keys[found], row) for found, row in each if found in keys]
        for sequence, each in known.items()
    }


def _paired(chains: Mapping[str, ChainMsa], together: Sequence[str] | None) -> dict[str, list[Keyed]]:
    """Rows with keys of each protein: what an MSA server paired, or rows of the same species."""
    if len(chains) < 2:
        return {}
    if together is None:
        return by_species({sequence: msa.pairing for sequence, msa in chains.items() if msa.pairing})
    return paired_by_server(chains, together)


def _csv(sequence: str, paired: Sequence[Keyed], unpaired: Sequence[Row], most: int) -> str:
    query = [(_UNPAIRED, row) for _, row in unpaired[:1]]
    all_rows = [
        *query,
        *paired[: min(MAX_PAIRED, most) - 1],
        *((_UNPAIRED, row) for _, row in unpaired[1:]),
    ]
    see_that_rows_fit(sequence, [row for _, row in all_rows] if query else [])
    all_rows[0] = (_UNPAIRED, sequence)  # without its insertions
    return "key,sequence\n" + "".join(f"{key},{row}\n" for key, row in all_rows[:most])
