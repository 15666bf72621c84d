"""Boltz's YAML, version 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from snakefold.molecules.accepts import Accepts
from snakefold.molecules.constraints import DISTANCE, Atom, Bond, Contact, Pocket, Token
from snakefold.molecules.entities import NO_ALIGNMENT, Assembly, Entity, Kind, Template
from snakefold.molecules.writers.common import Beside, called, named, require

_SAYS = Accepts(
    kinds=frozenset(Kind),
    modifications=True,
    cyclic=True,
    alignments=True,
    constraints=True,
    affinity=True,
    templates=True,
)


def write(assembly: Assembly, name: str, beside: Beside) -> str:
    """The YAML of an assembly. Boltz calls it as its file.

    Raises:
        Unsayable: it has something that the format lacks.
    """
    del name
    require(assembly, "Boltz's YAML", _SAYS, _lacking(assembly))
    content: dict[str, Any] = {
        "version": 1,
        "sequences": [{str(entity.kind): _entity(ids, entity, beside)} for ids, entity in named(assembly)],
    }
    if assembly.constraints:
        content["constraints"] = [_constraint(each) for each in assembly.constraints]
    if assembly.templates:
        content["templates"] = [_template(each, beside) for each in assembly.templates]
    if assembly.affinity is not None:
        content["properties"] = [{"affinity": {"binder": assembly.affinity}}]
    return yaml.safe_dump(content, sort_keys=False, width=1 << 30)


def _lacking(assembly: Assembly) -> Iterator[str]:
    for ids, entity in named(assembly):
        if entity.paired_msa is not None:
            yield f"paired rows of {called(ids, entity)} apart from its other rows"
        if entity.msa is not None and entity.kind is not Kind.PROTEIN:
            yield f"an alignment of {called(ids, entity)}"


def _entity(ids: list[str], entity: Entity, beside: Beside) -> dict[str, Any]:
    values: dict[str, Any] = {"id": ids[0] if len(ids) == 1 else ids}
    if entity.smiles:
        return values | {"smiles": entity.smiles}
    if entity.ccd:
        return values | {"ccd": entity.ccd[0] if len(entity.ccd) == 1 else list(entity.ccd)}
    values["sequence"] = entity.sequence
    if entity.modifications:
        values["modifications"] = [
            {"position": each.position, "ccd": each.ccd} for each in entity.modifications
        ]
    if entity.cyclic:
        values["cyclic"] = True
    if entity.msa == NO_ALIGNMENT:
        values["msa"] = NO_ALIGNMENT
    elif alignment := beside.name_of(entity):
        values["msa"] = beside.paths[alignment]
    elif entity.msa is not None:
        raise ValueError(f"The alignment {entity.msa} of {ids[0]} is not at hand.")
    return values


def _constraint(constraint: Bond | Pocket | Contact) -> dict[str, Any]:
    if isinstance(constraint, Bond):
        ends = [_atom(each) for each in constraint.atoms]
        return {"bond": {"atom1": ends[0], "atom2": ends[1]}}
    more: dict[str, Any] = (
        {} if constraint.max_distance == DISTANCE else {"max_distance": constraint.max_distance}
    )
    more |= {"force": True} if constraint.force else {}
    if isinstance(constraint, Pocket):
        contacts = [_token(each) for each in constraint.contacts]
        return {"pocket": {"binder": constraint.binder, "contacts": contacts, **more}}
    first, second = (_token(each) for each in constraint.tokens)
    return {"contact": {"token1": first, "token2": second, **more}}


def _atom(atom: Atom) -> list[str | int]:
    return [atom.chain, atom.residue, atom.atom]


def _token(token: Token) -> list[str | int | None]:
    return [token.chain, token.residue if token.atom is None else token.atom]


def _template(template: Template, beside: Beside) -> dict[str, Any]:
    values: dict[str, Any] = {template.form: beside.paths[template.file]}
    if template.chains:
        values["chain_id"] = list(template.chains)
    if template.template_chains:
        values["template_id"] = list(template.template_chains)
    if template.force:
        values["force"] = True
    if template.threshold is not None:
        values["threshold"] = template.threshold
    return values
