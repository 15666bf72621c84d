"""Tokens: what the cost of an assembly grows with, before anything is computed.

A residue of a polymer is one, modified or not; of a ligand each heavy atom is. So does Boltz-2 count;
AlphaFold 3 takes modified residues apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snakefold.molecules import chemistry
from snakefold.molecules.entities import Assembly, Entity, Kind


def ligand_atoms(assembly: Assembly | Mapping[str, Any] | None) -> int:
    """Heavy atoms of all ligands, copies counted; none of a target that is no assembly.

    Components that are bound to each other lose an atom or two, which are counted here.

    Args:
        assembly: as an object, or as contracts have it.
    """
    if assembly is None:
        return 0
    entities = assembly.entities if isinstance(assembly, Assembly) else assembly.get("entities", ())
    return sum(map(_atoms, entities))


def _atoms(given: Entity | Mapping[str, Any]) -> int:
    kind = given.kind if isinstance(given, Entity) else given.get("kind")
    if kind != Kind.LIGAND:  # nothing else is read: a receptor comes with each of 10,000 ligands
        return 0
    entity = given if isinstance(given, Entity) else Entity.model_validate(given)
    return entity.copies * chemistry.heavy_atoms(entity)
