"""FASTA whose headers say what a record is, as Boltz (`>A|protein|msa.a3m`) and Chai (`>protein|name=x`) do.

Such a file is one assembly, its records are the chains: what looks like many targets is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snakefold.kernel.names import shown
from snakefold.molecules.components import component
from snakefold.molecules.entities import MAX_CHAINS, Entity, Kind, Modification
from snakefold.molecules.lines import BadFile
from snakefold.molecules.readers.boltz import alignment
from snakefold.molecules.readers.common import Found, assemble, protein
from snakefold.molecules.readers.document import make
from snakefold.molecules.sequences import BadSequence

if TYPE_CHECKING:
    from snakefold.molecules.blocks import Block

_BOLTZ = {"protein", "dna", "rna", "ccd", "smiles"}
_CHAI = {"protein", "dna", "rna", "ligand", "glycan"}
_CHAIN = re.compile(r"[A-Za-z0-9]{1,5}", re.ASCII)
_SEVERAL = "If the records are proteins of their own, take '|' and what it marks out of the headers."


@dataclass(frozen=True, slots=True)
class Label:
    """What a header says: whose manner it is, what the record is, its chain and alignment (Boltz)."""

    program: str
    what: str
    chain: str = ""
    msa: str = ""


def label_of(header: str) -> Label | None:
    """The label of a header; None of an ordinary one, such as UniProt's `sp|P0CG47|UBB_HUMAN`."""
    first, bar, rest = header.partition("|")
    if not bar:
        return None
    if (what := first.strip().lower()) in _CHAI:
        return Label("Chai", what)
    second, _, msa = rest.partition("|")
    words = second.split()
    if len(words) == 1 and (what := words[0].lower()) in _BOLTZ and _CHAIN.fullmatch(first.strip()):
        return Label("Boltz", what, first.strip(), msa.strip())
    return None


def stray(label: Label) -> BadSequence:
    """What is said of a record with a label among others without one."""
    return BadSequence(
        "label",
        f"The header says '{label.what}' in the manner of {label.program}, and other headers do not.",
        f"Expected is a file in which every header says it: {label.program} makes one complex of a file. "
        f"{_SEVERAL}",
    )


def read(blocks: Iterable[Block], stem: str) -> Found:
    """The assembly of a file, called `stem`; its first header has a label.

    Raises:
        BadFile: a header has none, or that of another program; a record is not what it says.
    """
    entities: list[tuple[Entity, int]] = []
    notes: list[str] = []
    first: Label | None = None
    for block in blocks:
        label = label_of(block.header or "")
        if label is None or (first is not None and label.program != first.program):
            before = f"the first is in the manner of {first.program}" if first else "it says nothing"
            raise BadFile(
                "label",
                f"The header {shown(block.header or '', 40)!r} does not say what its record is; {before}.",
                f"Give every record of the file a label, or none. {_SEVERAL}",
                block.line,
            )
        if first is None:
            first = label
        if len(entities) == MAX_CHAINS:
            raise BadFile(
                "too_many_chains",
                f"The headers are in the manner of {label.program}, which makes one complex of a file, and "
                f"there are more than {MAX_CHAINS}.",
                _SEVERAL,
                block.line,
            )
        try:
            entities.append((_entity(label, block, notes), block.line))
        except BadFile as problem:
            raise _doubted(problem) from problem
    try:
        assembly = assemble(entities[0][1], entities)
    except BadFile as problem:
        raise _doubted(problem) from problem
    note = "; ".join(note for note in notes if note)
    return Found(stem, assembly, 1, entities[0][1], note, tuple(line for _, line in entities))


def _doubted(problem: BadFile) -> BadFile:
    """What is wrong, and that the header may mean something else."""
    return BadFile(problem.code, problem.message, f"{problem.advice} {_SEVERAL}", problem.line)


def _entity(label: Label, block: Block, notes: list[str]) -> Entity:
    where = f"{shown(block.header or '', 40)!r}"
    try:
        text = block.text
    except BadSequence as problem:
        raise BadFile(problem.code, f"{where}: {problem.message}", problem.advice, block.line) from problem
    values: dict[str, Any] = {"chains": [label.chain] if label.chain else []}
    text = text.strip()
    if label.what == "glycan":
        raise BadFile("glycans", f"{where}: glycans are not read yet.", "Take the record out.", block.line)
    if label.what in {"protein", "dna", "rna"} and label.program == "Chai":
        text, values["modifications"] = _modified(text, where, block.line)
    if label.what == "protein":
        sequence, note = protein(text, where, block.line)
        notes.append(note)
        values |= {"kind": Kind.PROTEIN, "sequence": sequence, "msa": alignment(label.msa)}
    elif label.what in {"dna", "rna"}:
        values |= {"kind": Kind(label.what), "sequence": text}
    elif label.what == "ccd":
        values |= {"kind": Kind.LIGAND, "ccd": [text]}
    else:
        values |= {"kind": Kind.LIGAND, "smiles": text}
    return make(Entity, where, block.line, **values)


_MODIFIED = re.compile(r"\(([A-Za-z0-9]{1,5})\)|([^()])", re.ASCII)


def _modified(text: str, where: str, line: int) -> tuple[str, list[Modification]]:
    """A sequence in which Chai's `(SEP)` are the letters that they derive from, and what they are.

    Raises:
        BadFile: such a residue is not known, or derives from no letter.
    """
    if "(" not in text:
        return text, []
    letters: list[str] = []
    modifications = []
    place = 0
    while place < len(text):
        found = _MODIFIED.match(text, place)
        if found is None:
            raise BadFile("modification", f"{where}: '(' and ')' do not match.", "Correct it.", line)
        code, letter = found.groups()
        if code:
            known = component(code.upper())
            letter = known.letter if known else ""
            if not letter:
                raise BadFile(
                    "modification",
                    f"{where}: ({code}) at residue {len(letters) + 1} has no standard residue in the "
                    "Chemical Component Dictionary.",
                    "Give it in a Boltz YAML or AlphaFold 3 JSON, which name both.",
                    line,
                )
            modifications.append(Modification(position=len(letters) + 1, ccd=code))
        letters.append(letter)
        place = found.end()
    return "".join(letters), modifications
