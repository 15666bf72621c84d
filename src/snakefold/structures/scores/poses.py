"""Poses of ligands in a model: what they touch, and whether they are molecules that can be.

Contacts and clashes are distances between heavy atoms; `ligand_geometry` judges bonds and stereochemistry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from snakefold.kernel import tables
from snakefold.kernel.contracts import Model
from snakefold.molecules.entities import Assembly, Kind
from snakefold.structures.chains import bonds_of, chain_names
from snakefold.structures.scores.ligand_geometry import Atoms, Floats, geometry

#: Heavy atoms at most so far apart are a contact, Å.
CONTACT = 4.5
#: Nearer than this share of the sum of their radii two atoms clash: of van der Waals radii, with a metal of
#: covalent ones.
CLASH = 0.75
#: Name of the file in a target's folder that has the contacts.
FILE = "contacts.tsv"
#: Å; no bond is longer.
_BONDED = 2.0


@dataclass(frozen=True, slots=True)
class Contact:
    """A residue of a polymer that a ligand touches: the closest pair of heavy atoms, `distance` in Å.

    Attributes:
        rank: of the model.
        ligand, component: chain of the ligand, and name of its component.
        chain, residue, name: of the polymer, with the number of the residue from 1, and what it is.
    """

    rank: int
    ligand: str
    component: str
    chain: str
    residue: int
    name: str
    distance: float
    ligand_atom: str
    atom: str


class Pose(Model):
    """A ligand in a model; None: it cannot be said, or there is nothing of the kind."""

    rank: int = Field(description="Rank of the model; 0 is the best.")
    chain: str = Field(description="Chain of the ligand, named as in the model's files.")
    name: str = Field(description="Names of its components.")
    contacts: int = Field(description="Residues of polymers with a heavy atom within 4.5 Å: contacts.tsv.")
    clashes: int = Field(
        description="Pairs of heavy atoms, its own and of a polymer, nearer than 0.75 of the sum of their "
        "van der Waals radii; with a metal, of their covalent radii. Bonds in the input do not count."
    )
    bonds_ok: bool | None = Field(
        None, description="All bond lengths and angles are within 25 % of what RDKit's bounds allow."
    )
    chirality_ok: bool | None = Field(
        None, description="Stereocentres and double bonds are as the input has them; null if it has none."
    )


def poses(model: gemmi.Model, assembly: Assembly, rank: int = 0) -> tuple[list[Pose], list[Contact]]:
    """Every ligand of a model, and its contacts: by ligand, the closest first.

    Args:
        model: chains named as `chains.chain_names` has them, residues numbered from 1.
    """
    entities = [entity for _, entity in assembly.chains()]
    names = chain_names(len(entities))
    atoms = _heavy(model)
    place_of = {chain.name: place for place, chain in enumerate(model)}
    polymers = [place_of[name] for name, each in zip(names, entities, strict=True)
                if each.kind is not Kind.LIGAND and name in place_of]  # fmt: skip
    polymer = atoms.part(np.isin(atoms.chain, polymers))
    bonds = _bonds(assembly)
    found, touched = [], []
    for name, entity in zip(names, entities, strict=True):
        if entity.kind is not Kind.LIGAND or name not in place_of:
            continue
        ligand = atoms.part(atoms.chain == place_of[name])
        if not len(ligand.xyz):
            continue
        near = polymer.part(_around(ligand.xyz, polymer.xyz))
        contacts = _contacts(ligand, near, name, rank)
        bonds_ok, chirality_ok = geometry(ligand, entity)
        components = dict.fromkeys(ligand.residues[place][2] for place in ligand.residue.tolist())
        found.append(
            Pose(
                rank=rank,
                chain=name,
                name="-".join(components),
                contacts=len(contacts),
                clashes=_clashes(ligand, near, bonds),
                bonds_ok=bonds_ok,
                chirality_ok=chirality_ok,
            )
        )
        touched += contacts
    return found, touched


def contacts_table(contacts: Sequence[Contact]) -> str:
    """Content of contacts.tsv."""
    return "".join(tables.row_lines(Contact, contacts, floats=".2f"))


def read_contacts(folder: Path) -> list[Contact] | None:
    """The contacts of the target in `folder`; None if it has no such file: no ligand, or an earlier version.

    Raises:
        SnakefoldError: the file is damaged; the text names it.
    """
    path = folder / FILE
    advice = "Delete the folder and run again."
    return tables.read(path, Contact, advice=advice) if path.is_file() else None


def _heavy(model: gemmi.Model) -> Atoms:
    rows: list[tuple[int, int, gemmi.Element, str, list[float]]] = []
    residues: list[tuple[str, int, str]] = []
    for place, chain in enumerate(model):
        for residue in chain:
            rows += [
                (place, len(residues), atom.element, atom.name, atom.pos.tolist())
                for atom in residue.first_conformer()
                if not atom.is_hydrogen()
            ]
            residues.append((chain.name, residue.seqid.num or 0, residue.name))
    return Atoms(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        [row[2] for row in rows],
        [row[3] for row in rows],
        np.array([row[4] for row in rows], np.float64).reshape(-1, 3),
        residues,
    )


def _around(ligand: Floats, polymer: Floats) -> NDArray[np.bool_]:
    """Atoms of a polymer in a ligand's box: what lies elsewhere is in no pair."""
    low, high = ligand.min(axis=0) - CONTACT, ligand.max(axis=0) + CONTACT
    return np.asarray(((polymer >= low) & (polymer <= high)).all(axis=1))


def _distances(one: Floats, other: Floats) -> Floats:
    return np.asarray(np.linalg.norm(one[:, None] - other[None], axis=2))


def _contacts(ligand: Atoms, polymer: Atoms, name: str, rank: int) -> list[Contact]:
    apart = _distances(ligand.xyz, polymer.xyz)
    found = []
    for residue in np.unique(polymer.residue).tolist():
        of_it = np.flatnonzero(polymer.residue == residue)
        block = apart[:, of_it]
        own, other = np.unravel_index(int(block.argmin()), block.shape)
        if (distance := float(block[own, other])) <= CONTACT:
            component = ligand.residues[ligand.residue[own]][2]
            chain, number, residue_name = polymer.residues[residue]
            atoms = (ligand.name[own], polymer.name[of_it[other]])
            found.append(Contact(rank, name, component, chain, number, residue_name, distance, *atoms))
    return sorted(found, key=lambda each: each.distance)


Place = tuple[str, int, str]


def _bonds(assembly: Assembly) -> list[tuple[Place, Place]]:
    """Bonds that were asked for, both ways."""
    pairs = [
        ((one.chain, one.residue, one.atom), (other.chain, other.residue, other.atom))
        for one, other in bonds_of(assembly)
    ]
    return [pair for one, other in pairs for pair in ((one, other), (other, one))]


def _clashes(ligand: Atoms, polymer: Atoms, bonds: Sequence[tuple[Place, Place]]) -> int:
    metal = _metals(ligand)[:, None] | _metals(polymer)[None]
    limits = np.where(
        metal,
        _radii(ligand, "covalent_r")[:, None] + _radii(polymer, "covalent_r")[None],
        _radii(ligand, "vdw_r")[:, None] + _radii(polymer, "vdw_r")[None],
    )
    close = _distances(ligand.xyz, polymer.xyz) < CLASH * limits
    for one, other in bonds:
        # Bound atoms and their neighbours are as near as a molecule has them.
        close[np.ix_(_beside(ligand, one), _beside(polymer, other))] = False
    return int(close.sum())


def _beside(atoms: Atoms, place: Place) -> list[int]:
    """An atom and those that are bound to it, as indices; none if it is not there."""
    places = [(*atoms.residues[residue][:2], name)
              for residue, name in zip(atoms.residue.tolist(), atoms.name, strict=True)]  # fmt: skip
    if place not in places:
        return []
    apart = np.linalg.norm(atoms.xyz - atoms.xyz[places.index(place)], axis=1)
    return np.flatnonzero(apart <= _BONDED).tolist()


def _metals(atoms: Atoms) -> NDArray[np.bool_]:
    return np.array([each.is_metal for each in atoms.element], bool)


def _radii(atoms: Atoms, kind: str) -> Floats:
    return np.array([getattr(each, kind) for each in atoms.element], np.float64)
