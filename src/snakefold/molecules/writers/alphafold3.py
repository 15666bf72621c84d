"""AlphaFold 3's JSON (dialect `alphafold3`, version 1), with the alignments inside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from snakefold.molecules.accepts import Accepts
from snakefold.molecules.constraints import Bond
from snakefold.molecules.entities import NO_ALIGNMENT, Assembly, Entity, Kind
from snakefold.molecules.writers.common import Beside, called, named, renamed, require

_SAYS = Accepts(kinds=frozenset(Kind), modifications=True, alignments=True, constraints=True)


def write(assembly: Assembly, name: str, beside: Beside) -> str:
    """The JSON of an assembly called `name`. Chain ids become capital letters if they are not.

    Raises:
        Unsayable: it has something that the format lacks.
    """
    require(assembly, "AlphaFold 3's JSON", _SAYS, _lacking(assembly, beside))
    assembly = renamed(assembly)
    content: dict[str, Any] = {
        "name": name,
        "modelSeeds": [1],
        "sequences": [{str(entity.kind): _entity(ids, entity, beside)} for ids, entity in named(assembly)],
    }
    bonds = [each for each in assembly.constraints if isinstance(each, Bond)]
    if bonds:
        content["bondedAtomPairs"] = [
            [[atom.chain, atom.residue, atom.atom] for atom in bond.atoms] for bond in bonds
        ]
    return json.dumps({**content, "dialect": "alphafold3", "version": 1}, indent=1) + "\n"


def _lacking(assembly: Assembly, beside: Beside) -> Iterator[str]:
    for constraint in assembly.constraints:
        if not isinstance(constraint, Bond):
            yield f"a {constraint.kind}"
    for ids, entity in named(assembly):
        if entity.msa is None and entity.paired_msa is not None:
            yield f"{called(ids, entity)}, which is searched and not paired"
        found = beside.alignments.get(beside.name_of(entity))
        if found is not None and found.keys is not None:
            yield f"rows of {called(ids, entity)} that are paired by keys"


def _entity(ids: list[str], entity: Entity, beside: Beside) -> dict[str, Any]:
    values: dict[str, Any] = {"id": ids[0] if len(ids) == 1 else ids}
    if entity.smiles:
        return values | {"smiles": entity.smiles}
    if entity.ccd:
        return values | {"ccdCodes": list(entity.ccd)}
    values["sequence"] = entity.sequence
    code, position = ("ptmType", "ptmPosition")
    if entity.kind is not Kind.PROTEIN:
        code, position = ("modificationType", "basePosition")
    if entity.modifications:
        values["modifications"] = [{code: each.ccd, position: each.position} for each in entity.modifications]
    paired = beside.alignments.get(entity.paired_msa or "")
    if entity.msa == NO_ALIGNMENT:
        values["unpairedMsa"] = ""
    elif alignment := beside.name_of(entity):
        found = beside.alignments[alignment]
        values["unpairedMsa"] = found.a3m
        # AlphaFold 3 pairs these by the species in their headers.
        values["pairedMsa"] = found.pairing
    elif entity.msa is not None:
        raise ValueError(f"The alignment {entity.msa} of {ids[0]} is not at hand.")
    if entity.kind is Kind.PROTEIN and "unpairedMsa" in values:
        values["pairedMsa"] = paired.a3m if paired else values.get("pairedMsa", "")
        # With alignments of its own, templates must be given, too: none.
        values["templates"] = []
    return values
