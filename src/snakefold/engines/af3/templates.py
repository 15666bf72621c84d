"""Templates of a chain, searched or brought along, in the form of AlphaFold 3's JSON."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.molecules.entities import Assembly, Kind, Template

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


def brought(target: TargetInput, files: Mapping[str, bytes]) -> dict[int, list[dict[str, Any]]]:
    """Templates that a target brings, by the place of the chain: those with most residues of it first.

    The order in which a target lists them does not count, for its key does not know it.
    A template's chain is the one that it names, else that of its file with most residues of the chain's.
    Residues are aligned by their letters. Atoms of residues that are none of the twenty, hydrogens and all
    but the first conformer are left out.

    Args:
        files: `TargetMsas.files`.

    Raises:
        TargetError: a file cannot be read, or has no chain that can be aligned.
    """
    if target.assembly is None:
        return {}
    assembly = Assembly.model_validate(target.assembly)
    found: dict[int, list[dict[str, Any]]] = {}
    for template in sorted(assembly.templates, key=lambda each: (each.file, each.template_chains)):
        name = f"templates/{template.file.removeprefix('sha256:')}.{template.form}"
        known = _chains(files[name], template)
        for number, (chain, entity) in enumerate(assembly.chains()):
            if entity.kind is not Kind.PROTEIN or (template.chains and chain not in template.chains):
                continue
            wanted = known
            if template.template_chains:
                named = template.template_chains[template.chains.index(chain)]
                wanted = {name: residues for name, residues in known.items() if name == named}
            made = _best(entity.sequence, wanted)
            if made is None:
                raise TargetError(
                    Reason.INVALID_INPUT,
                    f"Template {template.file[:19]}…: no chain of it has residues of chain {chain}.",
                    "Correct template_id, or leave the template out.",
                )
            found.setdefault(number, []).append(made)
    # Sorting is stable: templates with as many residues stay in the order of their digests.
    best = {place: sorted(each, key=lambda one: -len(one["queryIndices"])) for place, each in found.items()}
    return {place: each[:MOST] for place, each in best.items()}


def _chains(data: bytes, template: Template) -> dict[str, list[Any]]:
    """Chains of a template's file by their names, then by mmCIF's labels: their standard residues."""
    import gemmi

    try:
        text = data.decode()
        if template.form == "cif":
            structure = gemmi.make_structure_from_block(gemmi.cif.read_string(text)[0])
        else:
            structure = gemmi.read_pdb_string(text)
        structure.remove_hydrogens()
        structure.remove_alternative_conformations()
        chains = list(structure[0])
    except (ValueError, RuntimeError, IndexError) as error:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"Template {template.file[:19]}… cannot be read: {error}.",
            "Correct the file.",
        ) from error
    residues = [(chain.name, residue) for chain in chains for residue in _standard(chain)]
    found: dict[str, list[Any]] = {}
    for name, residue in residues:
        found.setdefault(name, []).append(residue)
    labels: dict[str, list[Any]] = {}
    for _, residue in residues:
        labels.setdefault(residue.subchain, []).append(residue)
    return {**{name: each for name, each in labels.items() if name}, **found}


def _standard(chain: Any) -> Iterator[Any]:
    """The residues of a chain that are among the twenty; selenomethionine is methionine."""
    import gemmi

    for residue in chain:
        if residue.name == "MSE":
            residue.name = "MET"
            for atom in residue:
                if atom.name == "SE":
                    atom.name, atom.element = "SD", gemmi.Element("S")
        known = gemmi.find_tabulated_residue(residue.name)
        if known.is_amino_acid() and known.is_standard():
            yield residue


def _best(sequence: str, chains: Mapping[str, Sequence[Any]]) -> dict[str, Any] | None:
    """The chain with most residues of a sequence, as the JSON has it; None if none has one."""
    import gemmi

    most: tuple[int, list[tuple[int, Any]]] = (0, [])
    query = gemmi.expand_one_letter_sequence(sequence, gemmi.ResidueKind.AA)
    for residues in chains.values():
        names = [residue.name for residue in residues]
        aligned = gemmi.align_string_sequences(query, names, [])
        pairs, ours, theirs = list[tuple[int, Any]](), 0, 0
        for piece in re.findall(r"(\d+)([MID])", aligned.cigar_str()):
            length, kind = int(piece[0]), piece[1]
            if kind == "M":
                pairs += [(ours + at, residues[theirs + at]) for at in range(length)]
            ours += length * (kind in "MI")
            theirs += length * (kind in "MD")
        same = sum(query[at] == residue.name for at, residue in pairs)
        if same > most[0]:
            most = (same, pairs)
    if not most[0]:
        return None
    chain = gemmi.Chain("A")
    for number, (_, residue) in enumerate(most[1], 1):
        copy = residue.clone()
        copy.seqid = gemmi.SeqId(number, " ")
        chain.add_residue(copy)
    return {
        "mmcif": _written(chain),
        "queryIndices": [at for at, _ in most[1]],
        "templateIndices": list(range(len(most[1]))),
    }


def _mmcif(letters: Sequence[str], places: Any, masks: Any) -> str:
    """One chain A of atoms in AlphaFold's 37 places."""
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
    return _written(chain)


def _written(chain: Any) -> str:
    """mmCIF text of one chain, released on a day that no limit excludes."""
    import gemmi

    model = gemmi.Model(1)
    model.add_chain(chain)
    structure = gemmi.Structure()
    structure.name = "TMPL"
    structure.add_model(model)
    structure.setup_entities()
    for entity in structure.entities:
        entity.full_sequence = [residue.name for residue in chain]
    structure.assign_label_seq_id()
    document = structure.make_mmcif_document()
    block = document.sole_block()
    loop = block.init_loop("_pdbx_audit_revision_history.", ["ordinal", "data_content_type", "revision_date"])
    loop.add_row(["1", "'Structure model'", "1971-01-01"])
    return str(document.as_string())


def _text(value: bytes | str) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
