"""Alignments as AlphaFold 3 reads them: an A3M of each protein, and a second one of the rows that are paired.

AlphaFold 3 pairs rows by the species in UniProt's names. Where others have said what belongs together (an MSA
server, a complex's own A3M, keys), rows get names with a species that stands for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase, digits

from snakefold.engines.protein_msas import Row, by_protein, paired_by_server, rows, see_that_rows_fit, split
from snakefold.engines.spec import ChainMsa, TargetMsas

_LETTERS = digits + ascii_uppercase


@dataclass(frozen=True)
class Alignment:
    """Of one protein: A3M texts, the query first in each; empty where there are no rows. templates.npz."""

    unpaired: str = ""
    paired: str = ""
    templates: bytes | None = None


def alignments(
    proteins: Sequence[str], msas: TargetMsas, without: Iterable[str] = (), *, most: int
) -> dict[str, Alignment]:
    """The alignments of each different protein.

    Args:
        proteins: sequences of what `msas.chains` has an entry for, in order.
        without: sequences that are predicted without an alignment.
        most: rows of an A3M.

    Raises:
        TargetError: msa_failed if an alignment is missing; invalid_input if one is of another sequence.
    """
    different = list(dict.fromkeys(proteins))
    if msas.own_a3m is not None:
        return {
            sequence: Alignment(_a3m(sequence, alone, most), _named(sequence, paired, most))
            for sequence, (paired, alone) in split(msas.own_a3m, different).items()
        }
    chains = by_protein(proteins, msas, without)
    paired = _paired(chains, msas.paired, most) if len(different) > 1 else {}
    return {
        sequence: Alignment(
            _a3m(sequence, list(rows(msa.a3m)), most), paired.get(sequence, ""), templates=msa.templates
        )
        for sequence, msa in chains.items()
    }


def _paired(chains: Mapping[str, ChainMsa], together: Sequence[str] | None, most: int) -> dict[str, str]:
    if together is None:
        found = {}
        for sequence, msa in chains.items():
            if msa.keys is not None:
                keyed = zip(msa.keys, rows(msa.a3m), strict=True)
                known = [
                    (key, row) for number, (key, (_, row)) in enumerate(keyed) if number and key is not None
                ]
                found[sequence] = _named(sequence, known, most)
            elif msa.pairing:
                found[sequence] = _a3m(sequence, list(rows(msa.pairing)), most)
        return found
    return {
        sequence: _named(sequence, keyed, most)
        for sequence, keyed in paired_by_server(chains, together).items()
    }


def _named(sequence: str, keyed: Sequence[tuple[int, str]], most: int) -> str:
    """Rows with keys, each under a UniProt name whose species is its key."""
    named = [(f"tr|K{key:07d}|K{key:07d}_{_species(key)}", row) for key, row in keyed]
    return _a3m(sequence, [("query", sequence), *named], most) if named else ""


def _species(key: int) -> str:
    """A number in five letters and digits, as many as a species may have."""
    text = ""
    for _ in range(5):
        key, place = divmod(key, len(_LETTERS))
        text = _LETTERS[place] + text
    return text


def _a3m(sequence: str, found: Sequence[Row], most: int) -> str:
    """An A3M whose first row is the query.

    Raises:
        TargetError: it is not, or a row has another number of columns.
    """
    kept = found[:most]
    see_that_rows_fit(sequence, [row for _, row in kept])
    return "".join(f">{name or 'row'}\n{row}\n" for name, row in kept)


def with_query(a3m: str, sequence: str) -> str:
    """The same A3M with another first row: modified residues have the letters of what they derive from."""
    if not a3m:
        return ""
    (name, _), *others = rows(a3m)
    return "".join(f">{each}\n{row}\n" for each, row in [(name, sequence), *others])
