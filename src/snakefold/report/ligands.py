"""The ligands of a target as the page shows them: a drawing and a name for each, and what they touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemmi

from snakefold.molecules import chemistry
from snakefold.report.coordinates import Atoms
from snakefold.report.libraries import packed
from snakefold.structures.scores.poses import read_contacts

if TYPE_CHECKING:
    from rdkit import Chem


def ligands(text: str, best: Atoms, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Every different ligand: its chains, components, SMILES (or empty) and drawings (packed SVG, or None).

    A ligand of several components has a drawing of each different one: their bonds are not in the file.

    Args:
        text: mmCIF of the best model, which has the SMILES that the input gave.
        best: atoms of this model.
        kinds: of its chains.
    """
    given = _smiles(text)
    chains: dict[tuple[str, ...], list[str]] = {}
    start = 0
    for (name, count), kind in zip(best.chains, kinds, strict=True):
        if kind == "ligand":
            residues = best.residue[best.starts[start : start + count]]
            chains.setdefault(tuple(residue.decode() for residue in residues), []).append(name)
        start += count
    return [
        {
            "chains": names,
            "components": list(components),
            "smiles": given.get(components[0], "") if len(components) == 1 else "",
            "drawings": [_drawing(each, given) for each in dict.fromkeys(components)],
        }
        for components, names in chains.items()
    ]


def contacts(folder: Path, models: int) -> list[list[list[Any]]]:
    """By rank: ligand, chain, number and name of the residue, distance (Å), atoms of ligand and residue.

    Raises:
        SnakefoldError: contacts.tsv is damaged; the text names it.
    """
    by_rank: list[list[list[Any]]] = [[] for _ in range(models)]
    for each in read_contacts(folder) or []:
        if 0 <= each.rank < models:
            atoms = [each.ligand_atom, each.atom]
            row = [each.ligand, each.chain, each.residue, each.name, each.distance, *atoms]
            by_rank[each.rank].append(row)
    return by_rank


def _smiles(text: str) -> dict[str, str]:
    """SMILES by component; none of those that the dictionary has."""
    columns = ["chem_comp_id", "type", "value"]
    table = gemmi.cif.read_string(text).sole_block().find("_ma_chem_comp_descriptor.", columns)
    rows = ([gemmi.cif.as_string(value).strip() for value in row] for row in table)
    return {code: value for code, kind, value in rows if kind == "Isomeric SMILES"}


def _drawing(code: str, given: Mapping[str, str]) -> str | None:
    molecule: Chem.Mol | None
    molecule = chemistry.molecule(given[code]) if code in given else chemistry.component_molecule(code)
    return None if molecule is None else packed(chemistry.drawing(molecule).encode())
