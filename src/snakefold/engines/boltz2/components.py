"""Components of the Chemical Component Dictionary as RDKit molecules, in the form that Boltz-2 reads.

Official ones come with Boltz-2's parameters (`weights`). A rehearsal makes those that it needs of the
dictionary that biotite brings. Of a molecule Boltz reads elements, charges, bonds, stereochemistry, one
conformer, and of every atom `name`, `leaving_atom` and `_CIPRank`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import MissingProgramError
from snakefold.kernel.store import write_atomically

#: The release of biotite whose dictionary a rehearsal takes: the one in the engine's environment.
DICTIONARY = "1.6.0"
#: What every prediction loads: amino acids, bases of RNA and DNA, and the unknown ones.
ALWAYS = (
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU", "LYS", "MET", "PHE"),
    *("PRO", "SER", "THR", "TRP", "TYR", "VAL", "UNK"),
    *("A", "G", "C", "U", "N", "DA", "DG", "DC", "DT", "DN"),
)
_ORDERS = {"SING": "SINGLE", "DOUB": "DOUBLE", "TRIP": "TRIPLE", "QUAD": "QUADRUPLE", "AROM": "AROMATIC"}
#: Of an atom: name, element, charge, and whether it leaves when the component is bound to another.
_ATOM = ("atom_id", "type_symbol", "charge", "pdbx_leaving_atom_flag")
_BOND = ("atom_id_1", "atom_id_2", "value_order")
_IDEAL = tuple(f"pdbx_model_Cartn_{axis}_ideal" for axis in "xyz")
_MODEL = tuple(f"model_Cartn_{axis}" for axis in "xyz")


def write(folder: Path, codes: Iterable[str] = ()) -> Sequence[str]:
    """Write `<code>.pkl` of what every prediction loads, and of `codes`; files that are there stay.

    Returns:
        The codes that the dictionary lacks, or of which no molecule can be made (unknown atoms).

    Raises:
        MissingProgramError: biotite is not installed, or in another release.
    """
    wanted = [code for code in dict.fromkeys([*ALWAYS, *codes]) if not (folder / f"{code}.pkl").is_file()]
    if not wanted:
        return []
    _see_that_it_is_here()
    from rdkit import Chem, rdBase

    Chem.SetDefaultPickleProperties(Chem.PropertyPickleOptions.AllProps)  # names of atoms are lost otherwise
    dictionary, lacking = Dictionary(), []
    with rdBase.BlockLogs():  # a line for every metal
        for code in wanted:
            try:
                molecule = dictionary.molecule(code)
            except (KeyError, RuntimeError, ValueError):  # targets without it go on
                lacking.append(code)
            else:
                write_atomically(folder / f"{code}.pkl", pickle.dumps(molecule))
    return lacking


def _see_that_it_is_here() -> None:
    try:
        found = importlib.metadata.version("biotite")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != DICTIONARY:
        raise MissingProgramError(
            f"A rehearsal of Boltz-2 needs biotite {DICTIONARY}, whose dictionary has the components; here "
            f"is {found}. Make the engine's environment again: snakefold engines install boltz2."
        )


class Dictionary:
    """Biotite's dictionary, by component: all of it is columns of one file."""

    def __init__(self) -> None:
        from biotite.structure.info.ccd import get_ccd

        block = get_ccd()
        self._tables = {kind: _Table(block[f"chem_comp_{kind}"]) for kind in ("atom", "bond")}

    def __contains__(self, code: str) -> bool:
        return code in self._tables["atom"].places

    def codes(self) -> Iterable[str]:
        """Of all components."""
        return self._tables["atom"].places

    def heavy_atoms(self, code: str) -> int:
        """Atoms besides hydrogen.

        Raises:
            KeyError: the dictionary lacks the component.
        """
        return sum(element not in ("H", "D") for (element,) in self._tables["atom"].rows(code, _ATOM[1:2]))

    def molecule(self, code: str) -> Any:
        """An RDKit molecule: atoms and bonds as the dictionary lists them, hydrogens among them.

        Raises:
            KeyError: the dictionary lacks the component.
        """
        from rdkit import Chem

        made = Chem.RWMol()
        numbers = {}
        for name, element, charge, leaving in self._tables["atom"].rows(code, _ATOM):
            atom = Chem.Atom("H" if element == "D" else str(element).capitalize())
            atom.SetFormalCharge(int(charge) if str(charge).lstrip("+-").isdigit() else 0)
            atom.SetNoImplicit(True)
            atom.SetProp("name", name)
            atom.SetProp("leaving_atom", "1" if leaving == "Y" else "0")
            numbers[name] = made.AddAtom(atom)
        for one, other, order in self._tables["bond"].rows(code, _BOND, missing=True):
            kind = getattr(Chem.BondType, _ORDERS.get(str(order).upper(), "SINGLE"))
            made.AddBond(numbers[one], numbers[other], kind)
        made.AddConformer(self._conformer(code), assignId=True)
        molecule = made.GetMol()
        try:
            Chem.SanitizeMol(molecule)
        except (Chem.MolSanitizeException, ValueError):  # clusters of metals have valences of their own
            molecule.UpdatePropertyCache(strict=False)
        with contextlib.suppress(RuntimeError):  # atoms in one place have no handedness
            Chem.AssignStereochemistryFrom3D(molecule)
        Chem.AssignStereochemistry(molecule, cleanIt=False, force=True)  # ranks every atom
        molecule.SetProp("PDB_NAME", code)
        return molecule

    def _conformer(self, code: str) -> Any:
        """The ideal coordinates, else those of the model, else zeros."""
        from rdkit import Chem
        from rdkit.Geometry import Point3D

        conformer = Chem.Conformer()
        for number, place in enumerate(self._coordinates(code)):
            conformer.SetAtomPosition(number, Point3D(*place))
        conformer.SetProp("name", "Ideal")
        return conformer

    def _coordinates(self, code: str) -> list[list[float]]:
        table = self._tables["atom"]
        for names in (_IDEAL, _MODEL):
            try:
                found = [[float(value) for value in row] for row in table.rows(code, names)]
            except ValueError:  # '?' where there are none
                continue
            if len(found) == 1 or any(place != found[0] for place in found):
                return found
        return [[0.0, 0.0, 0.0] for _ in table.rows(code, _ATOM[:1])]


class _Table:
    """A category of the dictionary. Its columns are taken apart whole: that costs less than by component."""

    def __init__(self, category: Any) -> None:
        import numpy as np

        self._category = category
        self._columns: dict[str, Any] = {}
        owners = category["comp_id"].as_array()
        edges = (np.flatnonzero(owners[1:] != owners[:-1]) + 1).tolist()
        #: Rows of a component lie together.
        self.places = {
            str(owners[start]): slice(start, stop)
            for start, stop in zip([0, *edges], [*edges, len(owners)], strict=True)
        }

    def rows(self, code: str, names: Sequence[str], *, missing: bool = False) -> list[tuple[Any, ...]]:
        """Values of these columns, row by row; `missing`: a component may have none."""
        if missing and code not in self.places:
            return []
        place = self.places[code]
        return list(zip(*(self._column(name)[place].tolist() for name in names), strict=True))

    def _column(self, name: str) -> Any:
        if name not in self._columns:
            self._columns[name] = self._category[name].as_array()
        return self._columns[name]
