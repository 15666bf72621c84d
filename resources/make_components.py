"""Make two tables of the Chemical Component Dictionary (wwPDB, CC0), as biotite's wheel has it.

python resources/make_components.py

components.tsv.gz: code, atoms without hydrogen, letter of the amino acid or nucleotide that it is or derives
from (or empty). The first line has the day of the youngest entry.

component_molecules.tsv.xz: code, SMILES (RDKit's, stereochemistry from the ideal coordinates), names of its
atoms in its order. A component that RDKit does not take is left out: 267 of 49,195, for their valences.
"""

from __future__ import annotations

import gzip
import lzma
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from biotite.structure.info.ccd import get_ccd
from rdkit import Chem, rdBase

STANDARD = "ALA CYS ASP GLU PHE GLY HIS ILE LYS LEU MET ASN PRO GLN ARG SER THR VAL TRP TYR"
LETTER = {
    **dict(zip(re.split(" ", STANDARD), "ACDEFGHIKLMNPQRSTVWY", strict=True)),
    **{name: name for name in "ACGU"},
    **{f"D{name}": name for name in "ACGT"},
}


def text() -> str:
    """The table."""
    dictionary = get_ccd()
    components, atoms = dictionary["chem_comp"], dictionary["chem_comp_atom"]
    heavy = ~np.isin(atoms["type_symbol"].as_array(str), ("H", "D"))
    codes, counts = np.unique(atoms["comp_id"].as_array(str)[heavy], return_counts=True)
    atoms_of = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    parents = components["mon_nstd_parent_comp_id"].as_array(str).tolist()
    names = components["id"].as_array(str).tolist()
    rows = [
        f"{name}\t{atoms_of.get(name, 0)}\t{LETTER.get(name) or LETTER.get(parent, '')}\n"
        for name, parent in sorted(zip(names, parents, strict=True))
    ]
    day = max(components["pdbx_modified_date"].as_array(str).tolist())
    return f"# {day}\n" + "".join(rows)


_ORDERS = {
    "SING": Chem.BondType.SINGLE, "DOUB": Chem.BondType.DOUBLE, "TRIP": Chem.BondType.TRIPLE,
    "QUAD": Chem.BondType.QUADRUPLE, "AROM": Chem.BondType.AROMATIC,
}  # fmt: skip


def molecules() -> Iterator[str]:
    """Rows of the second table."""
    dictionary = get_ccd()
    atoms, bonds = dictionary["chem_comp_atom"], dictionary["chem_comp_bond"]
    columns = {name: atoms[name].as_array(str) for name in ("comp_id", "atom_id", "type_symbol")}
    columns["charge"] = _numbers(atoms["charge"].as_array(str), 0.0).astype(int)
    for key, name in (("ideal", "pdbx_model_Cartn_{}_ideal"), ("model", "model_Cartn_{}")):
        axes = [_numbers(atoms[name.format(axis)].as_array(str), np.nan) for axis in "xyz"]
        columns[key] = np.stack(axes, axis=1)
    bound = [bonds[name].as_array(str) for name in ("atom_id_1", "atom_id_2", "value_order")]
    of_bonds = _slices(bonds["comp_id"].as_array(str))
    for code, where in sorted(_slices(columns["comp_id"]).items()):
        part = {name: values[where] for name, values in columns.items()}
        triples = zip(*(values[of_bonds.get(code, slice(0))] for values in bound), strict=True)
        try:
            molecule = _molecule(part, list(triples))
        except ValueError:  # RDKit's own kinds derive from it
            continue
        smiles = Chem.MolToSmiles(molecule)
        order = molecule.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"]
        if Chem.MolFromSmiles(smiles) is not None:
            names = " ".join(molecule.GetAtomWithIdx(int(at)).GetProp("name") for at in order)
            yield f"{code}\t{smiles}\t{names}\n"


def _molecule(atoms: Mapping[str, Any], bonds: list[tuple[str, str, str]]) -> Chem.Mol:
    """Without hydrogens; charges and bonds are the dictionary's, stereochemistry that of its coordinates."""
    made = Chem.RWMol()
    places = {}
    for name, symbol, charge in zip(atoms["atom_id"], atoms["type_symbol"], atoms["charge"], strict=True):
        atom = Chem.Atom({"D": "H", "X": "*"}.get(symbol, symbol.capitalize()))
        atom.SetFormalCharge(int(charge))
        atom.SetNoImplicit(True)
        atom.SetProp("name", str(name))
        places[name] = made.AddAtom(atom)
    for one, other, order in bonds:
        made.AddBond(places[one], places[other], _ORDERS.get(order, Chem.BondType.SINGLE))
    molecule = made.GetMol()
    Chem.SanitizeMol(molecule)
    xyz = atoms["model"] if np.isnan(atoms["ideal"]).any() else atoms["ideal"]
    if not np.isnan(xyz).any():
        conformer = Chem.Conformer(len(xyz))
        conformer.SetPositions(np.ascontiguousarray(xyz))
        molecule.AddConformer(conformer)
        Chem.AssignStereochemistryFrom3D(molecule)
    for atom in molecule.GetAtoms():
        atom.SetNoImplicit(False)
    return Chem.RemoveHs(molecule)


def _numbers(texts: np.ndarray, otherwise: float) -> np.ndarray:
    found = np.full(len(texts), otherwise)
    there = ~np.isin(texts, ("?", "."))
    found[there] = texts[there].astype(float)
    return found


def _slices(codes: np.ndarray) -> dict[str, slice]:
    """Where the rows of each code are."""
    starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
    ends = [*starts[1:].tolist(), len(codes)]
    return {str(codes[at]): slice(at, end) for at, end in zip(starts.tolist(), ends, strict=True)}


if __name__ == "__main__":
    folder = Path(__file__).parent
    (folder / "components.tsv.gz").write_bytes(gzip.compress(text().encode(), 9, mtime=0))
    with rdBase.BlockLogs():
        table = "".join(molecules())
    (folder / "component_molecules.tsv.xz").write_bytes(lzma.compress(table.encode(), preset=9))
