"""ColabFold's records of more than proteins: `SEQUENCE:ccd|ATP|2:smiles|CCO`, in one FASTA record.

A part without a bar is a protein. Others are `type|content`, with the number of copies after another bar;
types are dna, rna, ccd and smiles. A SMILES has ';' where ':' is meant, and is read as it is written:
ColabFold 1.6 turns its letters into capitals first, which makes another molecule of an aromatic one.
"""

from __future__ import annotations

from typing import Any

from snakefold.kernel.names import shown
from snakefold.molecules.entities import Entity, Kind
from snakefold.molecules.lines import BadFile
from snakefold.molecules.readers.common import Found, assemble, protein
from snakefold.molecules.readers.document import make

_TYPES = ("dna", "rna", "ccd", "smiles")


def read(text: str, name: str, record: int, line: int) -> Found:
    """The assembly of one record's sequence.

    Raises:
        BadFile: a part is none.
    """
    entities: list[tuple[Entity, int]] = []
    notes: list[str] = []
    for number, part in enumerate(text.split(":"), 1):
        where = f"part {number} ({shown(part, 30)!r})"
        if "|" not in part:
            sequence, note = protein(part, where, line)
            notes.append(note)
            values: dict[str, Any] = {"kind": Kind.PROTEIN, "sequence": sequence}
        else:
            values = _other(part, where, line)
        entities.append((make(Entity, where, line, **values), line))
    assembly = assemble(line, entities)
    return Found(
        name, assembly, record, line, "; ".join(note for note in notes if note), (line,) * len(entities)
    )


def _other(part: str, where: str, line: int) -> dict[str, Any]:
    what, content, *more = (piece.strip() for piece in part.split("|"))
    kind = what.lower()
    if kind not in _TYPES or len(more) > 1:
        raise BadFile(
            "label",
            f"{where}: this is nothing of ColabFold's.",
            f"Expected is type|content or type|content|copies; types are {', '.join(_TYPES)}.",
            line,
        )
    copies = more[0] if more else "1"
    if not (copies.isascii() and copies.isdecimal()):
        raise BadFile("type", f"{where}: {shown(copies, 20)!r} is no number of copies.", "Correct it.", line)
    values: dict[str, Any] = {"copies": int(copies[:6])}
    if kind == "ccd":
        return values | {"kind": Kind.LIGAND, "ccd": [content]}
    if kind == "smiles":
        return values | {"kind": Kind.LIGAND, "smiles": content.replace(";", ":")}
    return values | {"kind": Kind(kind), "sequence": content}
