"""AlphaFold's relaxation on OpenMM and PDBFixer: hydrogens, springs, and up to three minimisations.

The protocol is that of `alphafold.relax.amber_minimize.run_pipeline` (alphafold-colabfold 2.3.20; Jumper et
al. 2021, doi:10.1038/s41586-021-03819-2, supplementary section 1.8.6): hydrogens and OXT are added, heavy
atoms are held by springs, and the energy of AMBER99SB is minimised. Residues whose geometry is then still
wrong lose their springs, hydrogens are placed anew, and the rest is done again. From the same random numbers
and on one thread the coordinates are AlphaFold's, to the last digit; what differs is only what it costs:
hydrogens are placed before a minimisation and not after the last, and violations.py compiles nothing.
"""

from __future__ import annotations

import dataclasses
import io
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.contracts import RelaxSettings
from snakefold.structures import violations

#: AlphaFold tries a hundred times, but what fails three times goes on failing.
_ATTEMPTS = 3
#: Å that three decimals may take from a coordinate, with room for float32.
_ROUNDED = 0.001


@dataclass(frozen=True)
class Minimum:
    """What the last minimisation made of a model.

    Attributes:
        topology: openmm.app.Topology with hydrogens.
        before, after: positions, Å [atoms, 3].
        initial_energy, final_energy: kcal/mol.
        violations: indices of the residues whose geometry is still wrong.
    """

    topology: Any
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    initial_energy: float
    final_energy: float
    violations: NDArray[np.intp]

    def pdb(self) -> str:
        """PDB text as OpenMM writes it: chains from A, residues of a chain from 1."""
        from openmm import unit
        from openmm.app import PDBFile

        text = io.StringIO()
        PDBFile.writeFile(self.topology, self.after * unit.angstrom, text)
        return text.getvalue()


def minimise(model: Any, settings: RelaxSettings, *, gpu: bool) -> Minimum:
    """Minimise a model's energy.

    Args:
        model: alphafold.common.protein.Protein with all heavy atoms (OXT may be missing). The residues of a
            chain are bonded one to the next; each chain has at least two.
        settings: `max_iterations` of each minimisation, `tolerance`, `stiffness`, `max_outer_iterations`.
        gpu: compute through CUDA.

    Raises:
        ValueError: heavy atoms are missing, moved before the minimisation, or were lost.
        Exception: whatever OpenMM and PDBFixer raise.
    """
    import openmm

    platform = openmm.Platform.getPlatformByName("CUDA" if gpu else "CPU")
    released: set[int] = set()
    for _ in range(settings.max_outer_iterations):
        complete = _with_hydrogens(model, platform)
        found = _minimum(complete, released, settings, platform)
        model = _moved(model, found)
        wrong = violations.find(model.aatype, model.atom_positions, _numbers(model)).residues
        found = dataclasses.replace(found, violations=wrong)
        if not len(wrong):
            break
        released.update(wrong.tolist())
    return found


def _with_hydrogens(model: Any, platform: Any) -> Any:
    """The model as openmm.app.PDBFile, with hydrogens of pH 7 and with OXT at the end of each chain."""
    from alphafold.common import protein
    from openmm.app import PDBFile
    from pdbfixer import PDBFixer

    _refuse_missing_atoms(model)
    fixer = PDBFixer(pdbfile=io.StringIO(protein.to_pdb(model)), platform=platform)
    # Not one residue is missing, nonstandard or a heterogen, but PDBFixer wants to have looked.
    fixer.findMissingResidues()
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=0)
    fixer.addMissingHydrogens(pH=7.0)
    # AlphaFold minimises what a PDB file holds: three decimals, and bonds in the order of its reader.
    text = io.StringIO()
    PDBFile.writeFile(fixer.topology, fixer.positions, text, keepIds=True)
    complete = PDBFile(io.StringIO(text.getvalue()))
    _refuse_moved_atoms(model, complete)
    return complete


def _minimum(complete: Any, released: set[int], settings: RelaxSettings, platform: Any) -> Minimum:
    """Of the first attempt that succeeds: threads add in any order, so another may do better."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(Exception):
            return _attempt(complete, released, settings, platform)
    return _attempt(complete, released, settings, platform)


def _attempt(complete: Any, released: set[int], settings: RelaxSettings, platform: Any) -> Minimum:
    import openmm
    from openmm import unit
    from openmm.app import HBonds

    energy = unit.kilocalories_per_mole
    system = _force_field().createSystem(complete.topology, constraints=HBonds)
    system.addForce(_springs(complete, released, settings.stiffness))
    # The minimiser needs an integrator only for its constraints' tolerance; nothing is integrated.
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(complete.positions)
    before = context.getState(getEnergy=True, getPositions=True)
    tolerance = settings.tolerance * energy / unit.angstrom
    openmm.LocalEnergyMinimizer.minimize(context, tolerance, settings.max_iterations)
    after = context.getState(getEnergy=True, getPositions=True)
    positions = _angstroms(after.getPositions(asNumpy=True))
    if not np.isfinite(positions).all():
        raise ValueError("OpenMM's minimiser ended at positions that are not finite.")
    return Minimum(
        topology=complete.topology,
        before=_angstroms(before.getPositions(asNumpy=True)),
        after=positions,
        initial_energy=float(before.getPotentialEnergy().value_in_unit(energy)),
        final_energy=float(after.getPotentialEnergy().value_in_unit(energy)),
        violations=np.empty(0, dtype=np.intp),
    )


@cache
def _force_field() -> Any:
    """Reading it takes as long as building the system of a small protein."""
    from openmm.app import ForceField

    return ForceField("amber99sb.xml")


def _springs(complete: Any, released: set[int], stiffness: float) -> Any:
    """Springs from the heavy atoms to where they are, except for those of the residues `released`."""
    import openmm
    from openmm import unit

    springs = openmm.CustomExternalForce("0.5 * k * ((x-x0)^2 + (y-y0)^2 + (z-z0)^2)")
    springs.addGlobalParameter("k", stiffness * unit.kilocalories_per_mole / unit.angstrom**2)
    for name in ("x0", "y0", "z0"):
        springs.addPerParticleParameter(name)
    places = complete.positions.value_in_unit(unit.nanometer)
    for atom, place in zip(complete.topology.atoms(), places, strict=True):
        if atom.element.symbol != "H" and atom.residue.index not in released:
            springs.addParticle(atom.index, place)
    return springs


def _moved(model: Any, found: Minimum) -> Any:
    """The model with the minimised positions, rounded as a PDB file rounds them."""
    positions, mask = _heavy_atoms(found.topology, found.after.round(3))
    if not np.array_equal(_without_oxt(mask), _without_oxt(model.atom_mask)):
        raise ValueError("The minimised model has other heavy atoms than the model given.")
    return dataclasses.replace(model, atom_positions=positions, atom_mask=mask)


def _heavy_atoms(topology: Any, positions: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Positions [L, 37, 3] and mask [L, 37] by AlphaFold's atom types."""
    from alphafold.common import residue_constants

    order = residue_constants.atom_order
    places = np.zeros((topology.getNumResidues(), len(order), 3))
    mask = np.zeros(places.shape[:2])
    for atom, place in zip(topology.atoms(), positions, strict=True):
        if atom.name in order:
            places[atom.residue.index, order[atom.name]] = place
            mask[atom.residue.index, order[atom.name]] = 1
    return places, mask


def _refuse_missing_atoms(model: Any) -> None:
    from alphafold.common import protein, residue_constants

    wrong = np.argwhere(_without_oxt(protein.ideal_atom_mask(model)) != _without_oxt(model.atom_mask))
    if len(wrong):
        residue, atom = wrong[0]
        name = residue_constants.atom_types[atom]
        verb = "has an unexpected" if model.atom_mask[residue, atom] else "lacks its"
        raise ValueError(f"Residue {int(model.residue_index[residue])} {verb} atom {name}.")


def _refuse_moved_atoms(model: Any, complete: Any) -> None:
    positions, mask = _heavy_atoms(complete.topology, _angstroms(complete.positions))
    known = _without_oxt(model.atom_mask)
    same = np.array_equal(_without_oxt(mask), known)
    if not same or np.abs(positions[:, :-1] - model.atom_positions[:, :-1])[known].max() > _ROUNDED:
        raise ValueError("PDBFixer lost or moved heavy atoms while it added hydrogens.")


def _without_oxt(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """OXT ends a chain; it is the last of the 37 atom types."""
    return np.asarray(mask[:, :-1] > 0)


def _numbers(model: Any) -> NDArray[np.int64]:
    """Residue numbers from 1 in every chain [L], as OpenMM writes them and AlphaFold reads them back."""
    starts = np.flatnonzero(np.diff(model.chain_index, prepend=-1))
    return np.arange(len(model.aatype)) - np.repeat(starts, np.diff(starts, append=len(model.aatype))) + 1


def _angstroms(positions: Any) -> NDArray[np.float64]:
    from openmm import unit

    return np.asarray(positions.value_in_unit(unit.angstrom))
