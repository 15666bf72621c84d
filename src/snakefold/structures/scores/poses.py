"""Poses of ligands in a model: what they touch, and whether they are molecules that can be.

Contacts and clashes are distances between heavy atoms. The geometry of a ligand is compared with what RDKit's
distance geometry allows, as PoseBusters does (Buttenschoen, Morris and Deane 2024, doi:10.1039/D3SC04185A),
with its tolerances; its checks of energy, planarity and volume are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from snakefold.kernel import tables
from snakefold.kernel.contracts import Model
from snakefold.molecules.entities import Assembly, Entity, Kind
from snakefold.structures.chains import bonds_of, chain_names

if TYPE_CHECKING:
    from rdkit import Chem

#: Heavy atoms at most so far apart are a contact, Å.
CONTACT = 4.5
#: Nearer than this share of the sum of their radii two atoms clash: of van der Waals radii, with a metal of
#: covalent ones.
CLASH = 0.75
#: Share of RDKit's bounds that bond lengths, and angles (as distances over two bonds), may be beyond them.
TOLERANCE = 0.25
#: Name of the file in a target's folder that has the contacts.
FILE = "contacts.tsv"
#: Å; no bond is longer.
_BONDED = 2.0
#: Ways to match a ligand's atoms that are tried.
_MATCHES = 64

Floats = NDArray[np.float64]


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


@dataclass(frozen=True)
class _Atoms:
    """Heavy atoms: indices of chain and residue, elements, names, places [N, 3]."""

    chain: NDArray[np.int64]
    residue: NDArray[np.int64]
    element: list[gemmi.Element]
    name: list[str]
    xyz: Floats
    #: Of the residues: chain, number, name.
    residues: list[tuple[str, int, str]]

    def part(self, keep: NDArray[np.bool_]) -> _Atoms:
        at = np.flatnonzero(keep)
        return _Atoms(
            self.chain[at],
            self.residue[at],
            [self.element[place] for place in at],
            [self.name[place] for place in at],
            self.xyz[at],
            self.residues,
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
        bonds_ok, chirality_ok = _geometry(ligand, entity)
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


def _heavy(model: gemmi.Model) -> _Atoms:
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
    return _Atoms(
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


def _contacts(ligand: _Atoms, polymer: _Atoms, name: str, rank: int) -> list[Contact]:
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


def _clashes(ligand: _Atoms, polymer: _Atoms, bonds: Sequence[tuple[Place, Place]]) -> int:
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


def _beside(atoms: _Atoms, place: Place) -> list[int]:
    """An atom and those that are bound to it, as indices; none if it is not there."""
    places = [(*atoms.residues[residue][:2], name)
              for residue, name in zip(atoms.residue.tolist(), atoms.name, strict=True)]  # fmt: skip
    if place not in places:
        return []
    apart = np.linalg.norm(atoms.xyz - atoms.xyz[places.index(place)], axis=1)
    return np.flatnonzero(apart <= _BONDED).tolist()


def _metals(atoms: _Atoms) -> NDArray[np.bool_]:
    return np.array([each.is_metal for each in atoms.element], bool)


def _radii(atoms: _Atoms, kind: str) -> Floats:
    return np.array([getattr(each, kind) for each in atoms.element], np.float64)


def _geometry(ligand: _Atoms, entity: Entity) -> tuple[bool | None, bool | None]:
    """Whether bonds and angles, and the stereochemistry, are right; of several components, of each."""
    from snakefold.molecules import chemistry

    found: list[tuple[bool | None, bool | None]] = []
    if entity.smiles:
        molecule = chemistry.molecule(entity.smiles)
        found.append((None, None) if molecule is None else _best(molecule, ligand))
    for residue in [] if entity.smiles else np.unique(ligand.residue).tolist():
        molecule = chemistry.component_molecule(ligand.residues[residue][2])
        part = ligand.part(ligand.residue == residue)
        places = None if molecule is None else _by_name(molecule, part)
        found.append((None, None) if molecule is None or places is None else _checked(molecule, places))
    bonds, chirality = zip(*found, strict=True) if found else ((), ())
    return _all(bonds), _all(chirality)


def _all(found: Sequence[bool | None]) -> bool | None:
    said = [each for each in found if each is not None]
    return all(said) if said else None


def _by_name(molecule: Chem.Mol, atoms: _Atoms) -> Floats | None:
    """Places of a component's atoms [N, 3], NaN of those that are not in the model; None if names differ."""
    numbers = {atom.GetProp("name"): atom.GetIdx() for atom in molecule.GetAtoms()}
    if not set(atoms.name) <= set(numbers) or len(set(atoms.name)) < len(atoms.name):
        return None
    places = np.full((len(numbers), 3), np.nan)
    places[[numbers[name] for name in atoms.name]] = atoms.xyz
    return places


def _best(molecule: Chem.Mol, atoms: _Atoms) -> tuple[bool | None, bool | None]:
    """The checks of a ligand by SMILES, whose atoms have no names.

    Engines write its atoms in the order of the SMILES. If that makes no sense, they are matched by which are
    near each other; a ligand that is right in any order is right.
    """
    wanted = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    symbols = [each.name for each in atoms.element]
    if sorted(wanted) != sorted(symbols):
        return None, None
    found = []
    if wanted == symbols:
        found.append(_checked(molecule, atoms.xyz))
        if found[0][0] is not False:
            return found[0]
    found += [_checked(molecule, atoms.xyz[order]) for order in _orders(molecule, symbols, atoms.xyz)]
    right = [each for each in found if each[0]]
    return max(right, key=lambda each: each[1] is True) if right else (False, found[0][1] if found else None)


def _orders(molecule: Chem.Mol, symbols: Sequence[str], xyz: Floats) -> Iterator[list[int]]:
    """Orders of atoms in which those that are near each other are those that are bound."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDetermineBonds

    raw = Chem.RWMol()
    for symbol in symbols:
        raw.AddAtom(Chem.Atom(symbol))
    _place(raw, xyz)
    with rdBase.BlockLogs():
        try:
            rdDetermineBonds.DetermineConnectivity(raw)
        except Exception:  # RDKit raises its own kinds about atoms that lie on each other
            return
    for match in _skeleton(raw).GetSubstructMatches(_skeleton(molecule), uniquify=False, maxMatches=_MATCHES):
        yield list(match)


def _skeleton(molecule: Chem.Mol) -> Chem.Mol:
    """Elements, and who is bound to whom."""
    from rdkit import Chem

    plain = Chem.RWMol()
    for atom in molecule.GetAtoms():
        plain.AddAtom(Chem.AtomFromSmarts(f"[#{atom.GetAtomicNum()}]"))
    for bond in molecule.GetBonds():
        plain.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    return plain.GetMol()


def _place(molecule: Any, xyz: Floats) -> None:
    from rdkit import Chem

    conformer = Chem.Conformer(len(xyz))
    conformer.SetPositions(np.ascontiguousarray(np.nan_to_num(xyz)))
    molecule.AddConformer(conformer, assignId=True)


def _checked(molecule: Chem.Mol, xyz: Floats) -> tuple[bool | None, bool | None]:
    """The checks of a molecule whose atoms are at `xyz` [N, 3], NaN of those that are not there."""
    there = np.asarray(~np.isnan(xyz).any(axis=1))
    return _bonds_ok(molecule, xyz, there), _chirality_ok(molecule, xyz, there)


def _bonds_ok(molecule: Chem.Mol, xyz: Floats, there: NDArray[np.bool_]) -> bool | None:
    """Bond lengths and angles within RDKit's bounds and `TOLERANCE`; bonds of metals have none.

    None also where RDKit's own bounds contradict each other, as of four organometallic components.
    """
    from rdkit import rdBase
    from rdkit.Chem import rdDistGeom

    counted = [
        bool(there[atom.GetIdx()]) and not gemmi.Element(atom.GetSymbol()).is_metal
        for atom in molecule.GetAtoms()
    ]
    bound = {tuple(sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))) for bond in molecule.GetBonds()}
    across = {
        tuple(sorted(pair))
        for atom in molecule.GetAtoms()
        if counted[atom.GetIdx()]
        for pair in combinations([each.GetIdx() for each in atom.GetNeighbors()], 2)
    }
    pairs = np.array([pair for pair in sorted(bound | across) if all(counted[each] for each in pair)])
    if not len(pairs):
        return None
    try:
        with rdBase.BlockLogs():
            bounds = rdDistGeom.GetMoleculeBoundsMatrix(molecule)
    except RuntimeError:
        return None
    first, last = pairs.T  # sorted: the upper bound of i < j is at [i, j], the lower at [j, i]
    apart = np.linalg.norm(xyz[first] - xyz[last], axis=1)
    low, high = bounds[last, first] * (1 - TOLERANCE), bounds[first, last] * (1 + TOLERANCE)
    return bool(np.all((apart >= low) & (apart <= high)))


def _chirality_ok(molecule: Chem.Mol, xyz: Floats, there: NDArray[np.bool_]) -> bool | None:
    """Stereocentres and double bonds whose neighbours are all there; None if the molecule has none."""
    from rdkit import Chem

    seen = Chem.Mol(molecule)
    seen.RemoveAllConformers()
    _place(seen, xyz)
    Chem.AssignAtomChiralTagsFromStructure(seen)
    tetrahedral = (Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
    said = [
        seen.GetAtomWithIdx(atom.GetIdx()).GetChiralTag() == atom.GetChiralTag()
        for atom in molecule.GetAtoms()
        if atom.GetChiralTag() in tetrahedral
        and not _alike(atom)
        and all(there[each.GetIdx()] for each in (atom, *atom.GetNeighbors()))
    ]
    trans = {
        Chem.BondStereo.STEREOE: True, Chem.BondStereo.STEREOTRANS: True,
        Chem.BondStereo.STEREOZ: False, Chem.BondStereo.STEREOCIS: False,
    }  # fmt: skip
    for bond in molecule.GetBonds():
        if bond.GetStereo() not in trans:
            continue
        one, other = bond.GetStereoAtoms()
        four = [one, bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), other]
        if there[four].all():
            said.append(_is_trans(xyz[four]) == trans[bond.GetStereo()])
    return all(said) if said else None


def _alike(atom: Chem.Atom) -> bool:
    """Whether two ends are one element: O of a phosphate, whichever a dictionary gives the hydrogen."""
    ends = [each.GetSymbol() for each in atom.GetNeighbors() if each.GetDegree() == 1]
    return len(set(ends)) < len(ends)


def _is_trans(four: Floats) -> bool:
    """Whether the outer two of four atoms in a chain are on different sides of the inner two."""
    one, start, end, other = four
    axis = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
    left, right = one - start, other - end
    return bool(np.dot(left - np.dot(left, axis) * axis, right - np.dot(right, axis) * axis) < 0)
