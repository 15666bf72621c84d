"""Chai's FASTA: a record for each chain, whose header says what it is."""

from __future__ import annotations

from collections.abc import Iterator

from snakefold.molecules.accepts import Accepts
from snakefold.molecules.components import component
from snakefold.molecules.entities import Assembly, Entity, Kind
from snakefold.molecules.writers.common import Beside, called, named, require

_SAYS = Accepts(kinds=frozenset(Kind), modifications=True)


def write(assembly: Assembly, name: str, beside: Beside) -> str:
    """The FASTA of an assembly; records are called as its chains. Chai calls it as its file.

    Alignments that were searched are none of its business: Chai finds them by their sequence.

    Raises:
        Unsayable: it has something that the format lacks.
    """
    del name, beside
    require(assembly, "Chai's FASTA", _SAYS, _lacking(assembly))
    return "".join(
        f">{entity.kind}|name={chain}\n{_content(entity)}\n"
        for ids, entity in named(assembly)
        for chain in ids
    )


def _lacking(assembly: Assembly) -> Iterator[str]:
    for ids, entity in named(assembly):
        if entity.ccd:
            yield f"ligand {'-'.join(entity.ccd)} by its code (give its SMILES)"
        for each in entity.modifications:
            known = component(each.ccd)
            letter = entity.sequence[each.position - 1]
            if known is None or known.letter != letter:
                yield f"modification {each.ccd} of {letter}{each.position} of {called(ids, entity)}"


def _content(entity: Entity) -> str:
    if entity.smiles:
        return entity.smiles
    letters = list(entity.sequence)
    for each in entity.modifications:
        letters[each.position - 1] = f"({each.ccd})"
    return "".join(letters)
