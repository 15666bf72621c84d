"""Templates that were searched for a chain, in the form of AlphaFold 3's JSON."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

#: As many as the models read.
MOST = 4
#: What AlphaFold calls the atoms of its 37 places of a residue.
_ATOMS = (
    *("N", "CA", "C", "CB", "O", "CG", "CG1", "CG2", "OG", "OG1", "SG", "CD", "CD1", "CD2", "ND1", "ND2"),
    *("OD1", "OD2", "SD", "CE", "CE1", "CE2", "CE3", "NE", "NE1", "NE2", "OE1", "OE2", "CH2", "NH1", "NH2"),
    *("OH", "CZ", "CZ2", "CZ3", "NZ", "OXT"),
)


def of_chain(data: bytes | None) -> list[dict[str, Any]]:
    """Templates of a chain, best first: mmCIF text of one chain, and which of its residues is which.

    Args:
        data: templates.npz of the store: atoms [T, L, 37, 3] by residue of the query, their mask [T, L, 37],
            and the template's letter at each residue, `-` where there is none.
    """
    if data is None:
        return []
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        places = arrays["template_all_atom_positions"][:MOST]
        masks = arrays["template_all_atom_masks"][:MOST]
        sequences = [_text(each) for each in arrays["template_sequence"][:MOST]]
    found = []
    for place, mask, sequence in zip(places, masks, sequences, strict=True):
        known = [
            number
            for number, letter in enumerate(sequence[: len(mask)])
            if letter.isalpha() and mask[number].any()
        ]
        if known:
            found.append(
                {
                    "mmcif": _mmcif([sequence[number] for number in known], place[known], mask[known]),
                    "queryIndices": known,
                    "templateIndices": list(range(len(known))),
                }
            )
    return found


def _mmcif(letters: Sequence[str], places: Any, masks: Any) -> str:
    """One chain A, its residues numbered from 1, released on a day that no limit excludes."""
    import gemmi

    chain = gemmi.Chain("A")
    names = gemmi.expand_one_letter_sequence("".join(letters), gemmi.ResidueKind.AA)
    for number, name in enumerate(names, 1):
        residue = gemmi.Residue()
        residue.name, residue.seqid = name, gemmi.SeqId(number, " ")
        for kind, place, there in zip(_ATOMS, places[number - 1], masks[number - 1], strict=True):
            if there:
                atom = gemmi.Atom()
                atom.name, atom.element = kind, gemmi.Element(kind[0])
                atom.pos = gemmi.Position(*map(float, place))
                atom.occ = 1.0
                residue.add_atom(atom)
        chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    structure = gemmi.Structure()
    structure.name = "TMPL"
    structure.add_model(model)
    structure.setup_entities()
    for entity in structure.entities:
        entity.full_sequence = list(names)
    structure.assign_label_seq_id()
    document = structure.make_mmcif_document()
    block = document.sole_block()
    loop = block.init_loop("_pdbx_audit_revision_history.", ["ordinal", "data_content_type", "revision_date"])
    loop.add_row(["1", "'Structure model'", "1971-01-01"])
    return str(document.as_string())


def _text(value: bytes | str) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
