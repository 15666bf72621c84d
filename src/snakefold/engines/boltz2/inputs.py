"""A target as the YAML that Boltz reads, a function of what is predicted alone.

Targets are stored by a key that knows no names and no order of constraints. So chains get the names of
`chains.chain_names` in the target's order, and constraints the order of the assembly's canonical form: equal
keys give equal texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from snakefold.kernel.contracts import TargetInput
from snakefold.molecules.entities import Assembly, Entity, Kind
from snakefold.structures.chains import chain_names

#: What Boltz reads in place of an alignment.
NO_ALIGNMENT = "empty"


@dataclass(frozen=True)
class Chains:
    """The chains of a target, in its order.

    Attributes:
        entities: of each chain: kind, sequence or components, modifications.
        constraints: in canonical form, chains by their place.
        binder: place of the ligand whose affinity is wanted.
    """

    entities: Sequence[Entity]
    constraints: Sequence[Mapping[str, Any]] = ()
    binder: int | None = None

    @cached_property
    def names(self) -> list[str]:
        """Name of each chain, one to three characters."""
        return chain_names(len(self.entities))

    @property
    def proteins(self) -> list[str]:
        """Sequence of each protein chain."""
        return [entity.sequence for entity in self.entities if entity.kind is Kind.PROTEIN]


def chains_of(target: TargetInput) -> Chains:
    """What a target consists of, plain chains and assemblies alike."""
    if target.assembly is None:
        return Chains([Entity(kind=Kind.PROTEIN, sequence=sequence) for sequence in target.chains])
    assembly = Assembly.model_validate(target.assembly)
    content = assembly.canonical()
    return Chains([entity for _, entity in assembly.chains()], content["constraints"], content["affinity"])


def yaml_text(chains: Chains, alignments: Mapping[str, str]) -> str:
    """Boltz's YAML, written as JSON, which is YAML in which no name is taken for a number or a truth value.

    Args:
        alignments: path of the alignment of each protein sequence that has one.
    """
    document: dict[str, Any] = {
        "version": 1,
        "sequences": [
            _sequence(name, entity, alignments)
            for name, entity in zip(chains.names, chains.entities, strict=True)
        ],
    }
    if chains.constraints:
        document["constraints"] = [_constraint(each, chains.names) for each in chains.constraints]
    if chains.binder is not None:
        document["properties"] = [{"affinity": {"binder": chains.names[chains.binder]}}]
    return json.dumps(document, indent=1) + "\n"


def _sequence(name: str, entity: Entity, alignments: Mapping[str, str]) -> dict[str, Any]:
    content: dict[str, Any] = {"id": name}
    if entity.kind is Kind.LIGAND:
        if entity.smiles:
            content["smiles"] = entity.smiles
        else:
            content["ccd"] = entity.ccd[0] if len(entity.ccd) == 1 else list(entity.ccd)
        return {entity.kind.value: content}
    content["sequence"] = entity.sequence
    if entity.modifications:
        content["modifications"] = [
            {"position": each.position, "ccd": each.ccd} for each in entity.modifications
        ]
    if entity.cyclic:
        content["cyclic"] = True
    if entity.kind is Kind.PROTEIN:
        content["msa"] = alignments.get(entity.sequence, NO_ALIGNMENT)
    return {entity.kind.value: content}


def _constraint(content: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    kind = content["kind"]
    if kind == "bond":
        first, second = (
            [names[each["chain"]], each.get("residue", 1), each["atom"]] for each in content["atoms"]
        )
        return {"bond": {"atom1": first, "atom2": second}}
    places = [
        [names[each["chain"]], each.get("residue") or each["atom"]]
        for each in content["contacts" if kind == "pocket" else "tokens"]
    ]
    told = {"max_distance": content["max_distance"], "force": content["force"]}
    if kind == "pocket":
        return {"pocket": {"binder": names[content["binder"]], "contacts": places, **told}}
    # Two equal places are one in the canonical form: a residue in contact with itself.
    return {"contact": {"token1": places[0], "token2": places[-1], **told}}
