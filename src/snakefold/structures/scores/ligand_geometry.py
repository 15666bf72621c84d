"""Whether a ligand in a model is a molecule that can be: its bonds, angles and stereochemistry.

They are compared with what RDKit's distance geometry allows, as PoseBusters does (Buttenschoen, Morris and
Deane 2024, doi:10.1039/D3SC04185A), with its tolerances; its checks of energy, planarity and volume are left
out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from snakefold.molecules.entities import Entity

if TYPE_CHECKING:
    from rdkit import Chem

#: Share of RDKit's bounds that bond lengths, and angles (as distances over two bonds), may be beyond them.
TOLERANCE = 0.25
#: Ways to match a ligand's atoms that are tried.
_MATCHES = 64

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Atoms:
    """Heavy atoms: indices of chain and residue, elements, names, places [N, 3]."""

    chain: NDArray[np.int64]
    residue: NDArray[np.int64]
    element: list[gemmi.Element]
    name: list[str]
    xyz: Floats
    #: Of the residues: chain, number, name.
    residues: list[tuple[str, int, str]]

    def part(self, keep: NDArray[np.bool_]) -> Atoms:
        """Some of them."""
        at = np.flatnonzero(keep)
        return Atoms(
            self.chain[at],
            self.residue[at],
            [self.element[place] for place in at],
            [self.name[place] for place in at],
            self.xyz[at],
            self.residues,
        )


def geometry(ligand: Atoms, entity: Entity) -> tuple[bool | None, bool | None]:
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


def _by_name(molecule: Chem.Mol, atoms: Atoms) -> Floats | None:
    """Places of a component's atoms [N, 3], NaN of those that are not in the model; None if names differ."""
    numbers = {atom.GetProp("name"): atom.GetIdx() for atom in molecule.GetAtoms()}
    if not set(atoms.name) <= set(numbers) or len(set(atoms.name)) < len(atoms.name):
        return None
    places = np.full((len(numbers), 3), np.nan)
    places[[numbers[name] for name in atoms.name]] = atoms.xyz
    return places


def _best(molecule: Chem.Mol, atoms: Atoms) -> tuple[bool | None, bool | None]:
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
