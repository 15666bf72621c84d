"""Relaxation: a model's PDB text before and after AlphaFold's protocol (amber.py).

OpenMM's CPU platform is not deterministic: coordinates of two runs differ in the last digits.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.contracts import RelaxSettings
from snakefold.structures.files import PDB_MAX_ATOMS


class RelaxError(Exception):
    """The model could not be relaxed; the text says why. The caller keeps the unrelaxed model."""


@dataclass(frozen=True)
class Relaxed:
    """A relaxed model.

    Attributes:
        pdb: with hydrogens; chains, residue numbers and B factors (pLDDT) as in the model given.
        seconds: wall time.
        initial_energy, final_energy: kcal/mol, of the last minimisation.
        violations: residues whose bonds, angles or contacts are still wrong.
        rmsd: heavy atoms and hydrogens, Å, moved by the last minimisation.
    """

    pdb: str
    seconds: float
    initial_energy: float
    final_energy: float
    violations: int
    rmsd: float


def relax(pdb: str, settings: RelaxSettings) -> Relaxed:
    """Relax a predicted model.

    Args:
        pdb: PDB text as the engine wrote it. Unknown residues (X) have no atoms there; the chain is treated
            as broken.
        settings: `use_gpu_relax` (CUDA; auto: where there is one); the others as in `amber.minimise`.

    Raises:
        RelaxError: OpenMM failed, the result lost atoms, or a residue stands alone between unknown ones.
    """
    from alphafold.common import protein

    from snakefold.structures import amber

    started = time.perf_counter()
    if settings.use_gpu_relax is True and not cuda_works():
        raise RelaxError("use_gpu_relax is true, but OpenMM finds no GPU through CUDA: take auto or false.")
    model = protein.from_pdb_string(pdb)
    pieces = _broken_at_gaps(model)
    _refuse_unknown_residues(model)
    _refuse_lone_residues(model, pieces)
    try:
        found = amber.minimise(pieces, settings, gpu=takes_gpu(settings))
        text = found.pdb()
    # OpenMM, PDBFixer and AlphaFold raise a dozen unrelated types; each means that there is no relaxed model.
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or "no text"
        raise RelaxError(f"{type(error).__name__}: {reason[:300]}") from error
    energies = found.initial_energy, found.final_energy
    if not np.isfinite(energies).all():
        raise RelaxError(f"The energy is not finite ({energies[0]}, then {energies[1]} kcal/mol).")
    return Relaxed(
        pdb=_restored(text, model, pieces),
        seconds=time.perf_counter() - started,
        initial_energy=energies[0],
        final_energy=energies[1],
        violations=len(found.violations),
        rmsd=float(np.sqrt(((found.before - found.after) ** 2).sum(axis=1).mean())),
    )


def takes_gpu(settings: RelaxSettings) -> bool:
    """Whether a model is relaxed on a GPU here, unless that is demanded where there is none."""
    return settings.use_gpu_relax is not False and cuda_works()


@cache
def cuda_works() -> bool:
    """Whether OpenMM can compute on a GPU here. It may have the platform, and the machine no card."""
    import openmm

    system = openmm.System()
    system.addParticle(1.0)
    try:
        platform = openmm.Platform.getPlatformByName("CUDA")
        openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    except openmm.OpenMMException:
        return False
    return True


def _broken_at_gaps(model: Any) -> Any:
    """The model with a chain for every stretch of consecutive residues.

    OpenMM bonds neighbours of a chain whatever their distance, so it would pull the ends of a gap together.
    """
    return dataclasses.replace(
        model,
        chain_index=np.concatenate([[0], np.cumsum(_new_chain(model) | (np.diff(model.residue_index) != 1))]),
    )


def _refuse_unknown_residues(model: Any) -> None:
    """An engine may give an unknown residue (X) a backbone; AMBER has no parameters for it."""
    from alphafold.common import protein, residue_constants

    unknown = (model.aatype == residue_constants.restype_num) & model.atom_mask.any(axis=1)
    if unknown.any():
        place = int(np.argmax(unknown))
        name = protein.PDB_CHAIN_IDS[model.chain_index[place]]
        raise RelaxError(
            f"Residue {int(model.residue_index[place])} of chain {name} is unknown (X), and the model has "
            "atoms of it. AMBER cannot describe it."
        )


def _refuse_lone_residues(model: Any, pieces: Any) -> None:
    """AMBER has no parameters for a residue that is both ends of its chain."""
    from alphafold.common import protein

    _, first, sizes = np.unique(pieces.chain_index, return_index=True, return_counts=True)
    if not (sizes == 1).any():
        return
    place = first[sizes == 1][0]
    chain = model.chain_index[place]
    if (model.chain_index == chain).sum() == 1:
        why = "it is the only residue of the chain that has atoms"
    else:
        why = "the residues beside it are unknown (X) and have no atoms"
    residue = f"Residue {int(model.residue_index[place])}"
    name = protein.PDB_CHAIN_IDS[chain]
    raise RelaxError(f"{residue} has no neighbour in chain {name}: {why}. AMBER cannot describe it.")


def _new_chain(model: Any) -> NDArray[np.bool_]:
    """Whether a residue is the first of another chain than the residue before it [L - 1]."""
    return np.asarray(np.diff(model.chain_index) != 0)


def _restored(pdb: str, model: Any, pieces: Any) -> str:
    """OpenMM's PDB text with chains, residue numbers and B factors of `model`.

    OpenMM counts the residues of every piece from 1, and ends each with OXT and TER.
    """
    from alphafold.common import protein, residue_constants

    plddt = model.b_factors[:, residue_constants.atom_order["CA"]]
    inner_ends = set(np.flatnonzero(_new_chain(pieces) & ~_new_chain(model)).tolist())
    lines: list[str] = []
    index, residue = -1, ""
    for line in pdb.splitlines():
        if not line.startswith(("ATOM", "TER")):
            continue
        if line.startswith("ATOM") and line[21:27] != residue:
            index, residue = index + 1, line[21:27]
        if index in inner_ends and (line.startswith("TER") or line[12:16].strip() == "OXT"):
            continue
        place = f"{protein.PDB_CHAIN_IDS[model.chain_index[index]]}{int(model.residue_index[index]):>4} "
        text = f"{line[:6]}{len(lines) + 1:>5}{line[11:21]}{place}"
        if line.startswith("ATOM"):
            text += f"{line[27:60]}{plddt[index]:>6.2f}{line[66:]}"
        lines.append(text.ljust(80))
    if len(lines) > PDB_MAX_ATOMS:
        raise RelaxError(f"With hydrogens the model has {len(lines)} atoms, more than the PDB format holds.")
    return "\n".join([*lines, "END".ljust(80)]) + "\n"
