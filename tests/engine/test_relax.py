"""Relaxation by the real OpenMM, of a real structure: villin headpiece (1VII), from PDBFixer's wheel."""

from __future__ import annotations

import dataclasses
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from snakefold.kernel.contracts import RelaxSettings
from snakefold.structures.relax import Relaxed, RelaxError, cuda_works, relax

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def villin() -> Any:
    """36 residues numbered from 41, as alphafold.common.protein.Protein, with a pLDDT of its own for each."""
    from alphafold.common import protein

    found = protein.from_pdb_string(files("pdbfixer").joinpath("tests/data/test.pdb").read_text())
    plddt = np.linspace(30, 95, len(found.aatype)).round(2)
    return dataclasses.replace(found, b_factors=np.repeat(plddt[:, None], 37, axis=1))


def kept(model: Any, residues: list[int]) -> str:
    """PDB text of some of the residues."""
    from alphafold.common import protein

    fields = {field.name: getattr(model, field.name)[residues] for field in dataclasses.fields(model)}
    return protein.to_pdb(dataclasses.replace(model, **fields))


def atoms(pdb: str, name: str = " CA ") -> dict[int, tuple[np.ndarray, float]]:
    """Position and B factor by residue number."""
    lines = [line for line in pdb.splitlines() if line.startswith("ATOM") and line[12:16] == name]
    return {
        int(line[22:26]): (
            np.array([float(line[30:38]), float(line[38:46]), float(line[46:54])]),
            float(line[60:66]),
        )
        for line in lines
    }


def relaxed(pdb: str, **settings: Any) -> Relaxed:
    return relax(pdb, RelaxSettings.model_validate(settings))


def test_a_structure_relaxes_without_moving_far(villin: Any) -> None:
    before = kept(villin, list(range(36)))
    result = relaxed(before)
    assert result.final_energy < result.initial_energy
    assert result.violations == 0
    assert 0 < result.rmsd < 1
    old, new = atoms(before), atoms(result.pdb)
    assert list(old) == list(new)
    for number in old:
        assert np.linalg.norm(old[number][0] - new[number][0]) < 1
        assert new[number][1] == pytest.approx(old[number][1], abs=0.005)
    assert sum(line[12:16].strip().startswith("H") for line in result.pdb.splitlines()) > 200
    serials = [int(line[6:11]) for line in result.pdb.splitlines() if line.startswith(("ATOM", "TER"))]
    assert serials == list(range(1, len(serials) + 1))


def test_unknown_residues_break_the_chain_and_are_not_pulled_together(villin: Any) -> None:
    """X has no atoms: a bond across the gap would drag its ends together."""
    residues = [index for index in range(36) if index not in (10, 11, 12)]
    before = kept(villin, residues)
    result = relaxed(before, max_iterations=100)
    old, new = atoms(before), atoms(result.pdb)
    assert list(new) == [index + 41 for index in residues]
    gap = [np.linalg.norm(found[50][0] - found[54][0]) for found in (old, new)]
    assert abs(gap[0] - gap[1]) < 0.7
    assert [new[number][1] for number in new] == pytest.approx([old[number][1] for number in new], abs=0.005)
    assert len(atoms(result.pdb, " OXT")) == 1
    assert sum(line.startswith("TER") for line in result.pdb.splitlines()) == 1
    assert {line[21] for line in result.pdb.splitlines() if line.startswith("ATOM")} == {"A"}


def test_an_unknown_residue_with_atoms_is_refused_by_name(villin: Any) -> None:
    """flash-abb gives X a backbone."""
    types = villin.aatype.copy()
    types[10] = 20
    backbone = np.zeros_like(villin.atom_mask[10])
    backbone[:5] = villin.atom_mask[10][:5]
    mask = villin.atom_mask.copy()
    mask[10] = backbone
    model = dataclasses.replace(villin, aatype=types, atom_mask=mask)
    number = int(villin.residue_index[10])
    with pytest.raises(RelaxError, match=rf"^Residue {number} of chain A is unknown \(X\)"):
        relaxed(kept(model, list(range(36))))


def test_a_residue_between_two_gaps_is_refused_with_its_number(villin: Any) -> None:
    residues = [index for index in range(36) if index not in (10, 12)]
    with pytest.raises(RelaxError, match=r"Residue 52 has no neighbour in chain A: .* unknown \(X\)"):
        relaxed(kept(villin, residues))


def test_a_chain_of_one_residue_is_told_so(villin: Any) -> None:
    """Nothing of unknown residues: there are none."""
    chains = np.array([0] * 35 + [1])
    pair = dataclasses.replace(villin, chain_index=chains)
    with pytest.raises(RelaxError, match="in chain B: it is the only residue of the chain") as caught:
        relaxed(kept(pair, list(range(36))))
    assert "X" not in str(caught.value)


def test_steps_are_bounded(villin: Any) -> None:
    """All atoms pulled to a fifth of their distances: what an untrained network might give."""
    crushed = dataclasses.replace(villin, atom_positions=villin.atom_positions * 0.2)
    result = relaxed(kept(crushed, list(range(36))), max_iterations=2)
    assert result.initial_energy > 1e6
    assert result.violations > 0


def test_a_failure_is_told(villin: Any) -> None:
    """An atom that AlphaFold would never leave out."""
    lines = kept(villin, list(range(36))).splitlines()
    broken = [line for line in lines if not (line[12:16] == " CA " and line[22:26].strip() == "45")]
    with pytest.raises(RelaxError):
        relaxed("\n".join(broken), max_iterations=2)


def test_a_gpu_is_taken_where_there_is_one_and_demanded_where_asked_for(villin: Any) -> None:
    crushed = kept(dataclasses.replace(villin, atom_positions=villin.atom_positions * 0.2), list(range(36)))
    assert relaxed(crushed, max_iterations=1, use_gpu_relax="auto").pdb
    if cuda_works():
        assert relaxed(crushed, max_iterations=1, use_gpu_relax=True).pdb
    else:
        with pytest.raises(RelaxError, match="CUDA"):
            relaxed(crushed, max_iterations=1, use_gpu_relax=True)
