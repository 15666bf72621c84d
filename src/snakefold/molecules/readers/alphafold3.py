"""AlphaFold 3's JSON (dialect `alphafold3`, versions 1 to 4) and AlphaFold Server's (a list of jobs).

Every key is read, known to change nothing, or refused by name. Seeds and the choice of templates are settings
of a run here: the target's note says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from snakefold.kernel.names import shown
from snakefold.molecules.constraints import Atom, Bond
from snakefold.molecules.entities import NO_ALIGNMENT, Entity, Kind, Modification
from snakefold.molecules.lines import BadFile
from snakefold.molecules.readers.common import Found, Unread, assemble, left_to_settings, protein
from snakefold.molecules.readers.document import Fields, Table, parse_json

_EXPECTED = (
    "Expected is AlphaFold 3's JSON (name, modelSeeds, sequences, dialect, version) or AlphaFold Server's."
)
_VERSIONS = {"alphafold3": range(1, 5), "alphafoldserver": range(1, 2)}
_SERVER = {
    "proteinChain": Kind.PROTEIN,
    "dnaSequence": Kind.DNA,
    "rnaSequence": Kind.RNA,
    "ligand": Kind.LIGAND,
    "ion": Kind.LIGAND,
}
_OWN = {"protein": Kind.PROTEIN, "dna": Kind.DNA, "rna": Kind.RNA, "ligand": Kind.LIGAND}


def read(text: str, stem: str) -> Iterator[Found | Unread]:
    """Assemblies of a JSON; a job without a name is called `stem`. A bad job of a list is refused alone.

    Raises:
        BadFile: the text is no JSON, or no input of AlphaFold 3.
    """
    value = parse_json(text)
    jobs = value if isinstance(value, list) else [value]
    if not jobs:
        raise BadFile("no_records", "The JSON is an empty list.", _EXPECTED)
    if not any(isinstance(job, Table) and "sequences" in job for job in jobs):
        raise _no_input(jobs[0])
    for number, job in enumerate(jobs, 1):
        line = job.line if isinstance(job, Table) else 0
        name = job.get("name") if isinstance(job, Table) else None
        called = name if isinstance(name, str) and name.strip() else stem
        try:
            yield _job(job, number, called, server=isinstance(value, list))
        except BadFile as problem:
            yield Unread(called, number, line, problem)


def _no_input(first: Any) -> BadFile:
    if isinstance(first, Table) and "queries" in first:
        return BadFile(
            "unknown_kind",
            "This JSON has 'queries', as OpenFold 3's has, which is not read.",
            _EXPECTED,
            first.line,
        )
    return BadFile("unknown_kind", "This JSON is no input of AlphaFold 3: it has no 'sequences'.", _EXPECTED)


@dataclass
class _Notes:
    """What is to be said of a target."""

    replaced: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "; ".join(part for part in (*self.replaced, left_to_settings(self.settings)) if part)


def _job(job: Any, number: int, name: str, *, server: bool) -> Found:
    fields = Fields(job, f"job {number}" if server else "the JSON", 0)
    fields.ignore("name")
    dialect = fields.text("dialect", "alphafoldserver" if server else "alphafold3")
    if dialect not in _VERSIONS:
        raise fields.problem(
            "dialect", f"the dialect {dialect!r} is not known.", f"Known are {', '.join(_VERSIONS)}."
        )
    version = fields.integer("version", 1)
    if version not in _VERSIONS[dialect]:
        known = ", ".join(map(str, _VERSIONS[dialect]))
        raise fields.problem(
            "version", f"version {version} of {dialect} is not known.", f"Known are {known}."
        )
    notes = _Notes()
    if len(fields.list("modelSeeds", [])) > 1:
        notes.settings.append("modelSeeds")
    if dialect == "alphafold3":  # or its codes would be told as unknown ones
        for key in ("userCCD", "userCCDPath"):
            if fields.has(key):
                raise fields.problem(
                    "own_components",
                    f"components of your own ({key}) are not read yet.",
                    "Give ligands by CCD code or SMILES.",
                )
    read_entity = _server_entity if dialect == "alphafoldserver" else _entity
    entities = [(read_entity(each, notes), each.line) for each in fields.tables("sequences", "entry")]
    bonds: list[tuple[Bond, int]] = []
    if dialect == "alphafold3":
        bonds = [(_bond(pair, fields), fields.line) for pair in fields.list("bondedAtomPairs", [])]
        fields.ignore("userCCD", "userCCDPath")
    fields.done()
    assembly = assemble(fields.line, entities, bonds)
    lines = tuple(line for _, line in entities)
    return Found(name, assembly, number, fields.line, str(notes), lines, notes.texts)


def _kind_of(each: Fields, known: dict[str, Kind]) -> tuple[Kind, Fields, str]:
    key, content = each.only()
    if key not in known:
        raise each.problem("unknown_key", f"{key!r} is no entity.", f"Known are {', '.join(known)}.")
    return known[key], Fields(content, key, each.line), key


def _entity(each: Fields, notes: _Notes) -> Entity:
    kind, fields, key = _kind_of(each, _OWN)
    ids = fields.texts("id")
    fields.where = f"{key} {shown(ids[0], 20)}"
    fields.ignore("description")
    values: dict[str, Any] = {"kind": kind, "chains": ids}
    if kind is Kind.LIGAND:
        values |= {"ccd": fields.list("ccdCodes", []), "smiles": fields.text("smiles", "")}
        if not all(isinstance(code, str) for code in values["ccd"]):
            raise fields.problem("type", "ccdCodes has something else than texts.", "Put them in quotes.")
    else:
        values |= _polymer(kind, fields, notes)
    if kind in {Kind.PROTEIN, Kind.RNA}:
        values["msa"] = _alignment(fields, "unpairedMsa", notes)
    if kind is Kind.PROTEIN:
        values["paired_msa"] = _alignment(fields, "pairedMsa", notes)
        templates = fields.list("templates", None)
        if templates:
            raise fields.problem(
                "templates",
                "templates of its own are not read yet.",
                "Take them out, or name files in Boltz's YAML.",
            )
        if templates is not None:
            notes.settings.append("templates")
    fields.done()
    return fields.make(Entity, **values)


def _server_entity(each: Fields, notes: _Notes) -> Entity:
    kind, fields, key = _kind_of(each, _SERVER)
    fields.where = f"{each.where} ({key})"
    values: dict[str, Any] = {"kind": kind, "copies": fields.integer("count", 1)}
    if kind is Kind.LIGAND:
        values["ccd"] = [fields.text(key).removeprefix("CCD_")]
    else:
        values |= _polymer(kind, fields, notes)
    if kind is Kind.PROTEIN:
        if fields.list("glycans", []):
            raise fields.problem("glycans", "glycans are not read yet.", "Take them out.")
        for name in ("useStructureTemplate", "maxTemplateDate"):
            if fields.has(name):
                notes.settings.append(name)
        fields.ignore("useStructureTemplate", "maxTemplateDate")
    fields.done()
    return fields.make(Entity, **values)


def _polymer(kind: Kind, fields: Fields, notes: _Notes) -> dict[str, Any]:
    sequence = fields.text("sequence")
    if kind is Kind.PROTEIN:
        sequence, note = protein(sequence, fields.where, fields.line)
        notes.replaced.append(note)
        code, position = "ptmType", "ptmPosition"
    else:
        code, position = "modificationType", "basePosition"
    modifications = []
    for each in fields.tables("modifications", "modification"):
        values = {"position": each.integer(position), "ccd": each.text(code).removeprefix("CCD_")}
        each.done()
        modifications.append(each.make(Modification, **values))
    return {"sequence": sequence, "modifications": modifications}


def _alignment(fields: Fields, name: str, notes: _Notes) -> str | None:
    """An alignment by the digest of its text, or by the path of its file."""
    text, path = fields.text(name, None), fields.text(f"{name}Path", None)
    if text is not None and path is not None:
        raise fields.problem("msa", f"{name} and {name}Path are both there.", "Keep one.")
    if path is not None:
        return f"file:{path}"
    if text is None:
        return None
    if not text.strip():
        return NO_ALIGNMENT
    digest = hashlib.sha256(text.encode()).hexdigest()
    notes.texts[digest] = text
    return f"sha256:{digest}"


def _bond(pair: Any, fields: Fields) -> Bond:
    atoms = pair if isinstance(pair, list) else []
    if len(atoms) != 2 or not all(isinstance(atom, list) and len(atom) == 3 for atom in atoms):
        raise fields.problem(
            "bond",
            "a bond is not [[chain, residue, atom], [chain, residue, atom]].",
            "Correct bondedAtomPairs.",
        )
    ends = [fields.make(Atom, **dict(zip(("chain", "residue", "atom"), atom, strict=True))) for atom in atoms]
    return fields.make(Bond, kind="bond", atoms=ends)
