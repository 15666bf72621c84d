"""A target as AlphaFold 3's JSON, a function of what is predicted alone.

Targets are stored by a key that knows no names and no order of constraints. So chains get the letters A, B, …
in the target's order, and bonds the order of the assembly's canonical form: equal keys give equal inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from snakefold.engines.af3.msa import Alignment
from snakefold.kernel.contracts import TargetInput
from snakefold.molecules.entities import NO_ALIGNMENT, Assembly, Entity, Kind

#: What every target is called: no name may end up in a result.
NAME = "target"


@dataclass(frozen=True)
class Chains:
    """The chains of a target, in its order.

    Attributes:
        entities: of each chain: kind, sequence or components, modifications.
        bonds: in canonical form, chains by their place.
    """

    entities: Sequence[Entity]
    bonds: Sequence[Mapping[str, Any]] = ()

    @property
    def ids(self) -> list[str]:
        """The id of each chain in the JSON: capital letters."""
        return [letters(place) for place in range(len(self.entities))]

    @property
    def proteins(self) -> list[str]:
        """Sequence of each protein chain."""
        return [entity.sequence for entity in self.entities if entity.kind is Kind.PROTEIN]

    @property
    def codes(self) -> set[str]:
        """Components that it names: of ligands, and of modified residues."""
        return {
            code
            for entity in self.entities
            for code in (*entity.ccd, *(each.ccd for each in entity.modifications))
        }


def letters(place: int) -> str:
    """A, B, …, Z, AA, AB, … for 0, 1, …"""
    text = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        text = ascii_uppercase[letter] + text
    return text


def chains_of(target: TargetInput) -> Chains:
    """What a target consists of, plain chains and assemblies alike."""
    if target.assembly is None:
        return Chains([Entity(kind=Kind.PROTEIN, sequence=sequence) for sequence in target.chains])
    assembly = Assembly.model_validate(target.assembly)
    bonds = [each for each in assembly.canonical()["constraints"] if each["kind"] == "bond"]
    return Chains([entity for _, entity in assembly.chains()], bonds)


def searched_proteins(target: TargetInput) -> tuple[list[str], set[str]]:
    """Sequences that `TargetMsas.chains` has an entry for, and those that want no alignment."""
    if target.assembly is None:
        return list(target.chains), set()
    without = {each["sequence"] for each in target.proteins if each.get("msa") == NO_ALIGNMENT}
    return [each["sequence"] for each in target.proteins], without


def document(
    chains: Chains,
    alignments: Mapping[str, Alignment],
    templates: Mapping[int, Sequence[Mapping[str, Any]]],
    seed: int,
) -> dict[str, Any]:
    """The JSON of a target.

    Args:
        alignments: of each protein sequence that has one.
        templates: of the chain at each place, as the JSON has them. Chains of one entity may differ in them.
    """
    entries: list[tuple[Entity, Sequence[Mapping[str, Any]], list[str]]] = []
    for place, (name, entity) in enumerate(zip(chains.ids, chains.entities, strict=True)):
        bare, own = entity.model_copy(update={"chains": (), "copies": 1}), templates.get(place, ())
        known = next((ids for other, theirs, ids in entries if (other, theirs) == (bare, own)), None)
        if known is None:
            entries.append((bare, own, [name]))
        else:
            known.append(name)
    found: dict[str, Any] = {
        "dialect": "alphafold3",
        "version": 1,
        "name": NAME,
        "modelSeeds": [seed],
        "sequences": [
            {entity.kind.value: _entry(entity, ids, alignments, own)} for entity, own, ids in entries
        ],
    }
    if chains.bonds:
        found["bondedAtomPairs"] = [
            [[chains.ids[each["chain"]], each.get("residue", 1), each["atom"]] for each in bond["atoms"]]
            for bond in chains.bonds
        ]
    return found


def _entry(
    entity: Entity,
    ids: list[str],
    alignments: Mapping[str, Alignment],
    templates: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    content: dict[str, Any] = {"id": ids}
    if entity.kind is Kind.LIGAND:
        return content | ({"smiles": entity.smiles} if entity.smiles else {"ccdCodes": list(entity.ccd)})
    content["sequence"] = entity.sequence
    code, position = ("modificationType", "basePosition")
    if entity.kind is Kind.PROTEIN:
        code, position = ("ptmType", "ptmPosition")
    if entity.modifications:
        content["modifications"] = [
            {code: each.ccd, position: each.position} for each in entity.modifications
        ]
    if entity.kind is Kind.PROTEIN:
        found = alignments.get(entity.sequence, Alignment())
        content |= {
            "unpairedMsa": found.unpaired,
            "pairedMsa": found.paired,
            "templates": list(templates),
        }
    elif entity.kind is Kind.RNA:
        content["unpairedMsa"] = ""
    return content
