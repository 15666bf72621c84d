"""Protein chains of a structure that a target brings: a template, or the coordinates it begins with.

Of the first model the polymers that have amino acids. A modified residue counts as the one that it derives
from (MSE as MET, its SE as SD). Of several conformations the first residue is taken, and of each atom the one
with the highest occupancy. Residues that a file names (SEQRES, `_entity_poly_seq`) and does not model are
part of a chain's sequence.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import gemmi

Atoms = Mapping[str, tuple[float, float, float]]

_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
#: What an error shows of a sequence, letters.
_SHOWN = 10


class BadStructureError(ValueError):
    """A file is no structure, or not the one that is needed; the text says why."""


@dataclass(frozen=True)
class KnownChain:
    """One protein chain.

    Attributes:
        name: the author's.
        labels: what mmCIF calls its parts.
        sequence: a letter a residue, modelled or not; X for what is none of the twenty.
        places: index in `sequence` of each residue that is modelled, ascending.
        atoms: of each of them, coordinates in Å by atom name.
        bare: what is missing of those that lack the atom by which AlphaFold measures distances between
            residues, CB or, of glycine, CA: for example `CB of residue 5`.
    """

    name: str
    labels: frozenset[str]
    sequence: str
    places: tuple[int, ...]
    atoms: tuple[Atoms, ...]
    bare: tuple[str, ...] = ()

    @property
    def modelled(self) -> str:
        """Letters of the residues that are modelled."""
        return "".join(self.sequence[place] for place in self.places)


def read_chains(data: bytes, form: str) -> list[KnownChain]:
    """Protein chains of a file, in its order.

    Args:
        form: cif or pdb.

    Raises:
        BadStructureError: it is no such file, has no protein chain, or has coordinates that are none.
    """
    structure = _parsed(data, form)
    chains = [found for chain in structure[0] if (found := _chain(structure, chain)) is not None]
    if form == "pdb":  # it has no labels: these are made up here
        chains = [replace(chain, labels=frozenset()) for chain in chains]
    if not chains:
        raise BadStructureError("It has no protein chain.")
    return chains


def entry_name(data: bytes, form: str) -> str:
    """What a file calls itself (`_entry.id`, HEADER), letters and digits of it; empty if it does not say."""
    info = dict(_parsed(data, form).info.items())
    name = info.get("_entry.id", "")
    return "".join(letter for letter in name if letter.isascii() and letter.isalnum())[:20]


def matched(chains: Sequence[KnownChain], sequences: Sequence[str]) -> list[KnownChain]:
    """The chain of a file for each of these sequences, by its modelled residues; equal ones in their order.

    X in a sequence stands for any residue.

    Raises:
        BadStructureError: a sequence has no chain; the text says what the nearest one has instead.
    """
    left = list(chains)
    found = []
    for number, sequence in enumerate(sequences, 1):
        chain = next((each for each in left if _equal(sequence, each.modelled)), None)
        if chain is None:
            which = f"chain {number} of the target" if len(sequences) > 1 else "the target"
            raise BadStructureError(_lacking(which, sequence, left))
        left.remove(chain)
        found.append(chain)
    return found


def whole(chains: Sequence[KnownChain]) -> None:
    """See that chains have the atoms that AlphaFold reads of coordinates to begin with.

    Raises:
        BadStructureError: one lacks some; the text names the first.
    """
    for chain in chains:
        if chain.bare:
            raise BadStructureError(f"Chain {chain.name} lacks {chain.bare[0]}.")


def _parsed(data: bytes, form: str) -> gemmi.Structure:
    try:
        if form == "cif":
            block = gemmi.cif.read_string(data.decode("utf-8", "replace"))[0]
            structure = gemmi.make_structure_from_block(block)
        else:
            structure = gemmi.read_pdb_string(data)
        structure.merge_chain_parts()
        structure.setup_entities()
        structure.assign_label_seq_id()
    except (ValueError, RuntimeError, IndexError) as error:
        told = " ".join(str(error).split())[:80]
        raise BadStructureError(f"It is no {form} file ({told}).") from error
    if not len(structure) or not len(structure[0]):
        raise BadStructureError(f"It is no {form} file with a structure.")
    return structure


def _chain(structure: gemmi.Structure, chain: gemmi.Chain) -> KnownChain | None:
    polymer = chain.get_polymer()
    residues = [each for each in polymer.first_conformer() if _is_known(each) or each.find_atom("CA", "*")]
    if not any(map(_is_known, residues)):
        return None
    entity = structure.get_entity_of(polymer)
    whole = [gemmi.Entity.first_mon(each) for each in entity.full_sequence] if entity else []
    places = [(residue.label_seq or 0) - 1 for residue in residues]
    ascending = all(first < second for first, second in pairwise(places))
    if not whole or not ascending or places[0] < 0 or places[-1] >= len(whole):
        whole, places = [residue.name for residue in residues], list(range(len(residues)))
    letters = [_letter(name) for name in whole]
    for place, residue in zip(places, residues, strict=True):
        letters[place] = _letter(residue.name)
    atoms = tuple(_sound(chain, residue) for residue in residues)
    seen = [("CA" if letters[place] == "G" else "CB") for place in places]
    return KnownChain(
        chain.name,
        frozenset(residue.subchain for residue in residues if residue.subchain),
        "".join(letters),
        tuple(places),
        atoms,
        tuple(
            f"{name} of residue {residue.seqid}"
            for name, residue, each in zip(seen, residues, atoms, strict=True)
            if name not in each
        ),
    )


def _sound(chain: gemmi.Chain, residue: gemmi.Residue) -> Atoms:
    """Atoms of a residue. What a reader could not read as numbers is not a number, or zero like the next."""
    atoms = dict(_atoms(residue))
    where = f"residue {residue.seqid} ({residue.name}) of chain {chain.name}"
    for name, place in atoms.items():
        if not all(map(math.isfinite, place)):
            raise BadStructureError(f"Atom {name} of {where} has coordinates that are no numbers.")
    named = {place: name for name, place in atoms.items()}
    for name, place in atoms.items():
        if named[place] != name:
            raise BadStructureError(f"Atoms {name} and {named[place]} of {where} are at one place.")
    return atoms


def _atoms(residue: gemmi.Residue) -> Iterator[tuple[str, tuple[float, float, float]]]:
    best: dict[str, gemmi.Atom] = {}
    for atom in residue:
        name = "SD" if atom.name == "SE" and residue.name == "MSE" else atom.name
        if name not in best or atom.occ > best[name].occ:
            best[name] = atom
    for name, atom in best.items():
        yield name, (atom.pos.x, atom.pos.y, atom.pos.z)


def _is_known(residue: gemmi.Residue) -> bool:
    return bool(gemmi.find_tabulated_residue(residue.name).is_amino_acid())


def _letter(name: str) -> str:
    """Of the amino acid that a residue is or derives from; X if that is not known."""
    found = gemmi.find_tabulated_residue(name)
    letter = found.one_letter_code.upper() if found.is_amino_acid() else "X"
    return letter if letter in _LETTERS else "X"


def _equal(sequence: str, modelled: str) -> bool:
    return len(sequence) == len(modelled) and all(
        wanted in ("X", found) for wanted, found in zip(sequence, modelled, strict=True)
    )


def _lacking(which: str, sequence: str, left: Sequence[KnownChain]) -> str:
    if not left:
        return f"It has no chain left for {which} ({len(sequence)} residues)."

    def alike(chain: KnownChain) -> float:
        return difflib.SequenceMatcher(None, sequence, chain.modelled, autojunk=False).ratio()

    nearest = max(left, key=alike)
    match = difflib.SequenceMatcher(None, sequence, nearest.modelled, autojunk=False)
    kind, start, end, first, last = next(step for step in match.get_opcodes() if step[0] != "equal")
    place = f"{start + 1}" if end - start < 2 else f"{start + 1} to {end}"
    ours, theirs = _short(sequence[start:end]), _short(nearest.modelled[first:last])
    said = {
        "delete": f"lacks residues {place} of it ({ours})",
        "insert": f"has {theirs} more after residue {start} of it",
        "replace": f"has {theirs} in place of its residues {place} ({ours})",
    }[kind]
    return f"It has no chain with the sequence of {which}. The nearest, {nearest.name}, {said}."


def _short(letters: str) -> str:
    return letters if len(letters) <= _SHOWN else f"{letters[:_SHOWN]}…"
