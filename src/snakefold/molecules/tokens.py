"""Tokens: what the cost of an assembly grows with, before anything is computed.

A residue of a polymer is one, modified or not; of a ligand each heavy atom is. So count AlphaFold 3 (which
takes modified residues apart) and Boltz-2. No chemistry is needed: the atoms of a SMILES are counted in its
text, those of a component are in a table (components.tsv beside this module), made of the Chemical Component
Dictionary of the wwPDB as biotite 1.6.0 packs it. It is public (CC0), and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from snakefold.molecules import smiles
from snakefold.molecules.entities import Assembly, Entity, Kind

#: Heavy atoms of a component that the table lacks, for it may be younger: an estimate. Half of all components
#: have at most 25, nine of ten at most 45.
UNKNOWN = 30


def ligand_atoms(assembly: Assembly | Mapping[str, Any] | None) -> int:
    """Heavy atoms of all ligands, copies counted; none of a target that is no assembly.

    Components that are bound to each other lose an atom or two, which are counted here.

    Args:
        assembly: as an object, or as contracts have it.
    """
    return sum(
        copies * (smiles.heavy_atoms(text) if text else sum(map(component_atoms, codes)))
        for copies, text, codes in _ligands(assembly)
    )


def component_atoms(code: str) -> int:
    """Heavy atoms of a component; `UNKNOWN` if the table lacks it."""
    return _components().get(code, UNKNOWN)


def is_component(code: str) -> bool:
    """Whether the table has a component. The dictionary grows every week: another one may exist."""
    return code in _components()


def _ligands(assembly: Assembly | Mapping[str, Any] | None) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Copies, SMILES and codes of each ligand."""
    if assembly is None:
        return
    for each in assembly.entities if isinstance(assembly, Assembly) else assembly.get("entities", ()):
        entity = each if isinstance(each, Entity) else Entity.model_validate(each)
        if entity.kind is Kind.LIGAND:
            yield entity.copies, entity.smiles, entity.ccd


@cache
def _components() -> dict[str, int]:
    """Heavy atoms by code. A line of the table has the atoms, and all codes with so many."""
    found = {}
    for line in files(__package__).joinpath("components.tsv").read_text("ascii").splitlines():
        atoms, _, codes = line.partition("\t")
        found.update(dict.fromkeys(codes.split(" "), int(atoms)))
    return found
