"""Boltz's YAML: one assembly a file, called as the file is.

Boltz itself passes over unknown keys, bad letters, a chain id given twice and places that do not exist; here
each of them is named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from snakefold.kernel.names import shown
from snakefold.molecules.constraints import DISTANCE, Atom, Bond, Contact, Pocket, Token
from snakefold.molecules.entities import NO_ALIGNMENT, Entity, InitialGuess, Kind, Modification, Template
from snakefold.molecules.lines import BadFile
from snakefold.molecules.notation import form_of
from snakefold.molecules.readers.common import Found, assemble, protein
from snakefold.molecules.readers.document import Fields, Table, parse_yaml

_EXPECTED = "Expected is Boltz's YAML: 'version: 1' and 'sequences', a list of protein, dna, rna or ligand."


def read(text: str, stem: str) -> Found:
    """The assembly of a YAML, called `stem`.

    Raises:
        BadFile: the text is no YAML, no input of Boltz, or something in it is wrong.
    """
    value = parse_yaml(text)
    if not isinstance(value, Table) or "sequences" not in value:
        raise BadFile("unknown_kind", "This YAML is no input of Boltz: it has no 'sequences'.", _EXPECTED)
    fields = Fields(value, "the YAML", 1)
    if fields.integer("version", 1) != 1:
        raise fields.problem("version", "another version than 1 is not known.", "Known is 1.")
    notes: list[str] = []
    entities = [(_entity(each, notes), each.line) for each in fields.tables("sequences", "entry")]
    _check_comments(text, entities)
    constraints = [(_constraint(each), each.line) for each in fields.tables("constraints", "constraint")]
    templates = [(_template(each), each.line) for each in fields.tables("templates", "template")]
    affinity = [(_affinity(each), each.line) for each in fields.tables("properties", "property")]
    guess = _initial_guess(fields)
    if len(affinity) > 1:
        raise BadFile(
            "affinity", "the YAML: affinity is asked for more than once.", "Keep one.", affinity[1][1]
        )
    fields.done()
    assembly = assemble(fields.line, entities, constraints, templates, affinity[0] if affinity else None)
    if guess is not None:
        assembly = assembly.model_copy(update={"initial_guess": guess})
    lines = tuple(line for _, line in entities)
    note = "; ".join(note for note in notes if note)
    template_lines = tuple(line for _, line in templates)
    return Found(stem, assembly, 1, fields.line, note, lines, template_lines=template_lines)


#: A SMILES without quotes that a comment ends: `C #N`.
_CUT = re.compile(r"\bsmiles\s*:\s*[^'\"\s#][^'\"#\n]*\s#\S")


def _check_comments(text: str, entities: Sequence[tuple[Entity, int]]) -> None:
    """Raises BadFile for a SMILES that YAML ends at a '#', which is a bond there."""
    if "#" not in text or not any(entity.smiles for entity, _ in entities):
        return
    for number, line in enumerate(text.splitlines(), 1):
        if _CUT.search(line):
            raise BadFile(
                "ligand",
                "The SMILES is cut at a '#' after a blank, where a comment begins in YAML.",
                "Put the SMILES in quotes, or a blank after the '#' of a comment.",
                number,
            )


def _entity(each: Fields, notes: list[str]) -> Entity:
    key, content = each.only()
    if key.lower() not in list(Kind):
        raise each.problem("unknown_key", f"{key!r} is no entity.", f"Known are {', '.join(Kind)}.")
    kind = Kind(key.lower())
    fields = Fields(content, key, each.line)
    ids = fields.texts("id")
    fields.where = f"{key} {shown(ids[0], 20)}"
    values: dict[str, Any] = {"kind": kind, "chains": ids}
    if kind is Kind.LIGAND:
        values |= {"ccd": fields.texts("ccd", []), "smiles": fields.text("smiles", "").strip()}
    else:
        values |= _polymer(kind, fields, notes)
    fields.done()
    return fields.make(Entity, **values)


def _polymer(kind: Kind, fields: Fields, notes: list[str]) -> dict[str, Any]:
    sequence = fields.text("sequence")
    if kind is Kind.PROTEIN:
        sequence, note = protein(sequence, fields.where, fields.line)
        notes.append(note)
    modifications = []
    for each in fields.tables("modifications", "modification"):
        values = {"position": each.integer("position"), "ccd": each.text("ccd")}
        each.done()
        modifications.append(each.make(Modification, **values))
    return {
        "sequence": sequence,
        "modifications": modifications,
        "cyclic": fields.flag("cyclic", False),
        "msa": alignment(fields.text("msa", None)) if kind is Kind.PROTEIN else None,
    }


def alignment(text: str | None) -> str | None:
    """What Boltz's `msa` names: `empty`, a file, or (None) an alignment that is searched."""
    if not text:
        return None
    return NO_ALIGNMENT if text == NO_ALIGNMENT else f"file:{text}"


def _constraint(each: Fields) -> Bond | Pocket | Contact:
    key, content = each.only()
    fields = Fields(content, f"{each.where} ({key})", each.line)
    if key == "bond":
        ends = [_atom(fields.list(name), fields) for name in ("atom1", "atom2")]
        fields.done()
        return fields.make(Bond, kind="bond", atoms=ends)
    if key == "pocket":
        values: dict[str, Any] = {"binder": fields.text("binder")}
        values["contacts"] = [_token(place, fields) for place in fields.list("contacts")]
    elif key == "contact":
        values = {"tokens": [_token(fields.list(name), fields) for name in ("token1", "token2")]}
    else:
        raise each.problem("unknown_key", f"{key!r} is no constraint.", "Known are bond, pocket, contact.")
    values |= {
        "max_distance": fields.number("max_distance", DISTANCE),
        "force": fields.flag("force", False),
    }
    fields.done()
    if key == "pocket":
        return fields.make(Pocket, kind=key, **values)
    return fields.make(Contact, kind=key, **values)


def _atom(place: list[Any], fields: Fields) -> Atom:
    if len(place) != 3:
        raise fields.problem("bond", "an atom is not [chain, residue, atom].", "Correct it.")
    chain, residue, atom = place
    return fields.make(Atom, chain=chain, residue=residue, atom=atom)


def _token(place: Any, fields: Fields) -> Token:
    if not isinstance(place, list) or len(place) != 2:
        raise fields.problem("contact", "a place is not [chain, residue] or [chain, atom].", "Correct it.")
    chain, which = place
    return fields.make(Token, chain=chain, **{"atom" if isinstance(which, str) else "residue": which})


def _template(each: Fields) -> Template:
    forms = [form for form in ("cif", "pdb") if each.has(form)]
    if len(forms) != 1:
        raise each.problem("templates", "a template has a file: cif or pdb, one of the two.", "Correct it.")
    values: dict[str, Any] = {
        "form": forms[0],
        "file": f"file:{each.text(forms[0])}",
        "chains": each.texts("chain_id", []),
        "template_chains": each.texts("template_id", []),
        "force": each.flag("force", False),
        "threshold": each.number("threshold", None),
    }
    each.ignore("cif", "pdb")
    each.done()
    return each.make(Template, **values)


def _initial_guess(fields: Fields) -> InitialGuess | None:
    """A key of our own: Boltz has nothing like it."""
    name = fields.text("initial_guess", None)
    if not name:
        return None
    return fields.make(InitialGuess, form=form_of(name), file=f"file:{name}")


def _affinity(each: Fields) -> str:
    key, content = each.only()
    if key != "affinity":
        raise each.problem("unknown_key", f"{key!r} is no property.", "Known is affinity.")
    fields = Fields(content, f"{each.where} (affinity)", each.line)
    binder: str = fields.text("binder")
    fields.done()
    return binder
