"""Proteins with ligands, put together from a row of a table or a screen."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from snakefold.molecules import chemistry
from snakefold.molecules.entities import Assembly, Entity, Kind, said
from snakefold.molecules.lines import BadFile


def ligand(smiles: str, ccd: str, line: int, copies: int = 1) -> Entity:
    """A ligand by its SMILES or its code.

    Raises:
        BadFile: it is none; at `line`.
    """
    try:
        entity = Entity(kind=Kind.LIGAND, smiles=smiles, ccd=(ccd,) if ccd else (), copies=copies)
    except ValidationError as error:
        raise BadFile("ligand", said(error), "Correct the ligand.", line) from error
    chemistry.check_entity(entity, line)
    return entity


def proteins_of(chains: Sequence[str]) -> list[Entity]:
    """Entities of plain chains, in their order; neighbours that are equal are copies."""
    entities: list[Entity] = []
    for chain in chains:
        if entities and entities[-1].sequence == chain:
            entities[-1] = entities[-1].model_copy(update={"copies": entities[-1].copies + 1})
        else:
            entities.append(Entity(kind=Kind.PROTEIN, sequence=chain))
    return entities


def bound(base: Assembly, ligands: Sequence[Entity], *, affinity: bool) -> Assembly:
    """An assembly with ligands besides.

    Args:
        affinity: that of the first of the ligands is wanted.

    Raises:
        BadFile: there are too many chains, or there is no protein for an affinity.
    """
    try:
        whole = Assembly(
            entities=(*base.entities, *ligands), constraints=base.constraints, templates=base.templates
        )
        if not affinity:
            return whole
        first = sum(entity.copies for entity in base.entities)
        names = [name for name, _ in whole.chains()]
        return Assembly(
            entities=whole.entities,
            constraints=whole.constraints,
            templates=whole.templates,
            affinity=names[first],
        )
    except ValidationError as error:
        raise BadFile("molecules", said(error), "Correct the record.") from error
