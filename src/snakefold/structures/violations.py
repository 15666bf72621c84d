"""Residues whose geometry is wrong, as AlphaFold's relaxation finds them.

The checks are those of Jumper et al. 2021 (doi:10.1038/s41586-021-03819-2), supplementary section 1.9.11,
equations 44 to 46, with the tolerances of the model configuration: peptide bonds and their angles, clashes
between residues, bonds and clashes within a residue. The reference implementation is
`alphafold.model.folding.find_structural_violations` (alphafold-colabfold 2.3.20). It compiles some 77 JAX
programs for every new length, and holds all distances of a model at once; NumPy does neither.

Arithmetic is in float32 and in the reference's order: a value at a tolerance falls on the same side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Allowed deviation of bonds and angles in standard deviations, and allowed overlap of atoms in Å.
_DEVIATIONS = 12
_OVERLAP = 1.5
#: Slots of the backbone's atoms among the 14 of a residue, the same for all amino acids.
_N, _CA, _C = 0, 1, 2
#: Atoms whose distances to all others are held at a time.
_BLOCK = 256

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Chemistry:
    """What the 20 amino acids and X are made of; a residue has at most 14 heavy atoms without OXT.

    Attributes:
        atoms: int [21, 14], an atom's place among AlphaFold's 37 atom types.
        exists: bool [21, 14].
        radius: van der Waals radius, Å [21, 14].
        nearest, farthest: allowed distances of two atoms of a residue, Å [21, 14, 14].
    """

    atoms: NDArray[np.intp]
    exists: Mask
    radius: Floats
    nearest: Floats
    farthest: Floats


@dataclass(frozen=True)
class Violations:
    """Which residues break which rule.

    Attributes:
        bonds: at a peptide bond whose length or one of whose angles is wrong [L].
        clashes: with an atom that overlaps one of another residue [L].
        within: with two atoms of its own that are nearer or farther than bonds and radii allow [L].
    """

    bonds: Mask
    clashes: Mask
    within: Mask

    @property
    def residues(self) -> NDArray[np.intp]:
        """Indices of the residues that break any rule, ascending."""
        return np.flatnonzero(self.bonds | self.clashes | self.within)


def find(aatype: NDArray[Any], positions: NDArray[Any], numbers: NDArray[Any]) -> Violations:
    """Look for violations in a model.

    Residues with consecutive numbers are bonded, and residues with equal numbers are not compared, whatever
    their chains: so it is in the reference, which knows no chains.

    Args:
        aatype: AlphaFold's index of the amino acid, 0 to 20 [L]. X (20) has no atoms.
        positions: Å, by AlphaFold's 37 atom types [L, 37, 3]. All heavy atoms are there.
        numbers: residue numbers [L].
    """
    chemistry = _chemistry()
    exists = chemistry.exists[aatype]
    atoms = np.take_along_axis(positions.astype(np.float32), chemistry.atoms[aatype][..., None], axis=1)
    return Violations(
        bonds=_bonded_wrongly(aatype, atoms, exists, numbers),
        clashes=_clashing(aatype, atoms, exists, numbers),
        within=_distorted(aatype, atoms, exists),
    )


@cache
def _chemistry() -> _Chemistry:
    from alphafold.common import residue_constants as constants

    names = [
        constants.restype_name_to_atom14_names[constants.restype_1to3[one]] for one in constants.restypes
    ]
    names.append([""] * 14)
    bounds = constants.make_atom14_dists_bounds(
        overlap_tolerance=_OVERLAP, bond_length_tolerance_factor=_DEVIATIONS
    )
    radii = constants.van_der_waals_radius
    return _Chemistry(
        atoms=np.array([[constants.atom_order.get(name, 0) for name in row] for row in names]),
        exists=np.array([[bool(name) for name in row] for row in names]),
        radius=np.array([[radii[name[0]] if name else 0 for name in row] for row in names], dtype=np.float32),
        nearest=bounds["lower_bound"],
        farthest=bounds["upper_bound"],
    )


def _bonded_wrongly(aatype: NDArray[Any], atoms: Floats, exists: Mask, numbers: NDArray[Any]) -> Mask:
    from alphafold.common import residue_constants as constants

    carbon, nitrogen = atoms[:-1, _C], atoms[1:, _N]
    bond, length = _difference(nitrogen, carbon)
    to_own_ca, _ = _difference(atoms[:-1, _CA], carbon)
    to_next_ca, _ = _difference(atoms[1:, _CA], nitrogen)
    # The ring of proline lengthens the bond before it.
    proline = (aatype[1:] == constants.restype_order["P"]).astype(np.intp)
    ideal = np.array(constants.between_res_bond_length_c_n, dtype=np.float32)[proline]
    spread = np.array(constants.between_res_bond_length_stddev_c_n, dtype=np.float32)[proline]
    at_carbon, at_nitrogen = (to_own_ca * bond).sum(axis=-1), (-bond * to_next_ca).sum(axis=-1)
    # The reference takes the standard deviation of the bond's length, 0.014, for the cosine at the carbon.
    limit_at_carbon = _DEVIATIONS * constants.between_res_bond_length_stddev_c_n[0]
    limit_at_nitrogen = _DEVIATIONS * constants.between_res_cos_angles_c_n_ca[1]
    wrong = (
        (_error(length, ideal) > np.float32(_DEVIATIONS) * spread)
        | (_error(at_carbon, constants.between_res_cos_angles_ca_c_n[0]) > np.float32(limit_at_carbon))
        | (_error(at_nitrogen, constants.between_res_cos_angles_c_n_ca[0]) > np.float32(limit_at_nitrogen))
    )
    wrong &= (np.diff(numbers) == 1) & exists[:-1, _C] & exists[1:, _N]
    return np.append(wrong, False) | np.append(False, wrong)


def _difference(end: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Unit vectors from `start` to `end` [n, 3], and the distances, Å [n]."""
    vector = end - start
    length = np.sqrt(np.float32(1e-6) + (vector**2).sum(axis=-1))
    return vector / length[:, None], length


def _error(value: Floats, ideal: Any) -> Floats:
    return np.asarray(np.sqrt(np.float32(1e-6) + (value - np.float32(ideal)) ** 2))


def _distance(first: Floats, second: Floats) -> Floats:
    return np.asarray(np.sqrt(np.float32(1e-10) + ((first - second) ** 2).sum(axis=-1)))


def _distorted(aatype: NDArray[Any], atoms: Floats, exists: Mask) -> Mask:
    chemistry = _chemistry()
    apart = _distance(atoms[:, :, None], atoms[:, None])
    wrong = (apart < chemistry.nearest[aatype]) | (apart > chemistry.farthest[aatype])
    wrong &= exists[:, :, None] & exists[:, None] & ~np.eye(14, dtype=bool)
    return np.asarray(wrong.any(axis=(1, 2)))


def _clashing(aatype: NDArray[Any], atoms: Floats, exists: Mask, numbers: NDArray[Any]) -> Mask:
    clashing = np.zeros(len(aatype), dtype=bool)
    residue, slot = np.nonzero(exists)
    number, place, radius = numbers[residue], atoms[exists], _chemistry().radius[aatype][exists]
    reach = 2 * radius.max(initial=0) - _OVERLAP
    for start in range(0, len(place), _BLOCK):
        first, second = _nearer(place[start : start + _BLOCK], place, reach)
        first += start
        peptide = (number[first] + 1 == number[second]) & (slot[first] == _C) & (slot[second] == _N)
        # The reference means cysteines' disulfide bridges, but takes the sulfur's slot of every amino acid.
        bridge = (slot[first] == _bridge_slot()) & (slot[second] == _bridge_slot())
        allowed = radius[first] + radius[second] - np.float32(_OVERLAP)
        overlap = _distance(place[first], place[second]) < allowed
        wrong = overlap & (number[first] < number[second]) & ~peptide & ~bridge
        clashing[residue[first[wrong]]] = clashing[residue[second[wrong]]] = True
    return clashing


def _nearer(some: Floats, every: Floats, reach: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the pairs at most `reach` apart, Å, and of some a little farther."""
    square = np.zeros((len(some), len(every)), dtype=np.float32)
    for axis in range(3):
        square += (some[:, None, axis] - every[None, :, axis]) ** 2
    first, second = np.nonzero(square < (reach + 0.001) ** 2)
    return first, second


def _bridge_slot() -> int:
    from alphafold.common import residue_constants

    return int(residue_constants.restype_name_to_atom14_names["CYS"].index("SG"))
