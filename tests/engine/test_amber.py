"""Relaxation against AlphaFold's own run_pipeline: on one thread OpenMM is deterministic; nothing differs."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from snakefold.kernel.contracts import RelaxSettings
from snakefold.structures import amber
from snakefold.structures.relax import relax

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import openmm

    platform = openmm.Platform.getPlatformByName("CPU")
    before = platform.getPropertyDefaultValue("Threads")
    platform.setPropertyDefaultValue("Threads", "1")
    yield
    platform.setPropertyDefaultValue("Threads", before)


def villin() -> Any:
    """36 residues, as alphafold.common.protein.Protein."""
    from alphafold.common import protein

    return protein.from_pdb_string(files("pdbfixer").joinpath("tests/data/test.pdb").read_text())


def moved(model: Any, noise: float, scale: float = 1.0) -> Any:
    """Every atom displaced at random, Å, after all were scaled."""
    away = np.random.default_rng(1).normal(0, noise, model.atom_positions.shape)
    places = (model.atom_positions * scale + away) * model.atom_mask[..., None]
    return dataclasses.replace(model, atom_positions=places)


def parted(model: Any) -> Any:
    """Two chains without the residues between them."""
    kept = np.r_[0:15, 18:36]
    fields = {field.name: getattr(model, field.name)[kept] for field in dataclasses.fields(model)}
    return dataclasses.replace(model, **{**fields, "chain_index": np.repeat([0, 1], [15, 18])})


def bridged() -> Any:
    """Two chains of seven residues of mTOR complex's mLST8 (4JSV) whose cysteines were brought together."""
    from alphafold.common import protein, residue_constants

    found = protein.from_pdb_string(files("pdbfixer").joinpath("tests/data/4JSV.pdb").read_text())
    order = residue_constants.atom_order
    cysteines = np.flatnonzero(
        (found.chain_index == 2) & (found.aatype == residue_constants.restype_order["C"])
    )
    kept = np.concatenate([np.arange(place - 3, place + 4) for place in cysteines[:2]])
    fields = {field.name: getattr(found, field.name)[kept] for field in dataclasses.fields(found)}
    model = dataclasses.replace(found, **{**fields, "chain_index": np.repeat([0, 1], 7)})
    places = model.atom_positions.copy()
    # The second chain is turned about its own sulfur, so that its cysteine points at the first's.
    (first_ca, first_sg), (ca, sg) = (
        (places[at, order["CA"]].copy(), places[at, order["SG"]].copy()) for at in (3, 10)
    )
    outward = (first_sg - first_ca) / np.linalg.norm(first_sg - first_ca)
    inward = (sg - ca) / np.linalg.norm(sg - ca)
    axis = outward + -inward
    axis /= np.linalg.norm(axis)
    turned = 2 * np.outer(axis, axis) - np.eye(3)
    places[7:] = (places[7:] - sg) @ turned.T + first_sg + 2.05 * outward
    return dataclasses.replace(model, atom_positions=places * model.atom_mask[..., None])


class Seen:
    """What OpenMM was given to minimise by the force field: its system as XML, and positions in nm."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import openmm

        self.inputs: list[tuple[str, np.ndarray]] = []
        minimise = openmm.LocalEnergyMinimizer.minimize

        def recorded(context: Any, *args: Any, **kwargs: Any) -> None:
            system = context.getSystem()
            # PDBFixer minimises too, without a force field.
            if any(isinstance(force, openmm.NonbondedForce) for force in system.getForces()):
                state = context.getState(getPositions=True)
                places = state.getPositions(asNumpy=True)._value.copy()
                self.inputs.append((openmm.XmlSerializer.serialize(system), places))
            minimise(context, *args, **kwargs)

        monkeypatch.setattr(openmm.LocalEnergyMinimizer, "minimize", staticmethod(recorded))


def text(pdb: str) -> list[str]:
    return [line for line in pdb.splitlines() if not line.startswith("REMARK")]


#: The model, iterations of a minimisation, and how many residues have no springs in the last round.
CASES = {
    "sound": (villin, 0, range(1)),
    "two chains with a gap": (lambda: parted(villin()), 0, range(1)),
    "disulfide bridge": (bridged, 0, range(1)),
    "springs lifted for some": (lambda: moved(villin(), 0.5), 50, range(1, 36)),
    "springs lifted for all": (lambda: moved(villin(), 0.1, scale=0.5), 20, range(36, 37)),
}
#: Settings of a case that are not AlphaFold's.
OTHER = {
    "springs lifted for some": {"stiffness": 3.0, "tolerance": 20.0},
    "springs lifted for all": {"max_outer_iterations": 2},
}


@pytest.mark.parametrize(("case", "other"), [*((case, {}) for case in CASES), *OTHER.items()])
def test_the_same_as_alphafolds_relaxation(
    case: str, other: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Topology, constraints, springs and positions of every minimisation; and all that comes of them."""
    from alphafold.relax import amber_minimize

    make, iterations, released = CASES[case]
    model = make()
    seen = Seen(monkeypatch)
    random.seed(7)  # OpenMM draws the first guess of a hydrogen's place
    settings = RelaxSettings(max_iterations=iterations, **other)
    ours = amber.minimise(model, settings, gpu=False)
    inputs, seen.inputs = seen.inputs, []
    random.seed(7)
    theirs = amber_minimize.run_pipeline(
        prot=model,
        stiffness=settings.stiffness,
        tolerance=settings.tolerance,
        use_gpu=False,
        max_outer_iterations=settings.max_outer_iterations,
        max_iterations=iterations,
        max_attempts=1,
    )
    assert len(inputs) == len(seen.inputs) == theirs["iteration"] + 1
    assert theirs["num_exclusions"] in released
    for (system, places), (their_system, their_places) in zip(inputs, seen.inputs, strict=True):
        assert system == their_system
        assert np.array_equal(places, their_places)
    assert ours.violations.tolist() == theirs["residue_violations"].tolist()
    assert (ours.initial_energy, ours.final_energy) == (theirs["einit"], theirs["efinal"])
    assert np.array_equal(ours.before, theirs["posinit"])
    assert np.array_equal(ours.after, theirs["pos"])
    assert text(ours.pdb()) == text(theirs["min_pdb"])


def test_the_bridged_case_has_a_bridge() -> None:
    found = amber.minimise(bridged(), RelaxSettings(max_iterations=1), gpu=False)
    sulfurs = [atom for atom in found.topology.atoms() if atom.name == "SG"]
    assert [set(sulfurs)] == [
        set(bond[:2]) for bond in found.topology.bonds() if bond[0].name == bond[1].name == "SG"
    ]


def test_more_pieces_than_letters() -> None:
    """OpenMM names chains by 26 letters, and starts again."""
    from alphafold.common import protein

    found = protein.from_pdb_string(files("pdbfixer").joinpath("tests/data/4JSV.pdb").read_text())
    kept = np.flatnonzero(found.chain_index == 2)[:84].reshape(28, 3)[:, :2].ravel()
    fields = {field.name: getattr(found, field.name)[kept] for field in dataclasses.fields(found)}
    model = dataclasses.replace(found, **{**fields, "chain_index": np.zeros(56, dtype=int)})
    result = relax(protein.to_pdb(model), RelaxSettings(max_iterations=1))
    again = protein.from_pdb_string(result.pdb)
    assert again.residue_index.tolist() == model.residue_index.tolist()
    assert again.aatype.tolist() == model.aatype.tolist()


def test_the_residue_that_lacks_an_atom_is_named() -> None:
    model = villin()
    model.atom_mask[4, 1] = 0
    with pytest.raises(ValueError, match=r"Residue 45 lacks its atom CA\."):
        amber.minimise(model, RelaxSettings(max_iterations=1), gpu=False)


@pytest.mark.parametrize("failures", [2, 3])
def test_an_attempt_that_fails_is_repeated_and_the_last_one_tells(
    failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openmm

    minimise, calls = openmm.LocalEnergyMinimizer.minimize, []

    def failing(context: Any, *args: Any) -> None:
        if any(isinstance(force, openmm.NonbondedForce) for force in context.getSystem().getForces()):
            calls.append(args)
            if len(calls) <= failures:
                raise openmm.OpenMMException("Particle coordinate is NaN.")
        minimise(context, *args)

    monkeypatch.setattr(openmm.LocalEnergyMinimizer, "minimize", staticmethod(failing))
    if failures == 2:
        assert amber.minimise(villin(), RelaxSettings(max_iterations=0), gpu=False).violations.size == 0
    else:
        with pytest.raises(openmm.OpenMMException, match="Particle coordinate is NaN"):
            amber.minimise(villin(), RelaxSettings(max_iterations=0), gpu=False)
    assert len(calls) == 3


def test_relaxation_loads_no_network() -> None:
    """JAX takes a second of processor time to import, and engines without it relax too."""
    program = """
import sys
from importlib.resources import files
from alphafold.common import protein
from snakefold.kernel.contracts import RelaxSettings
from snakefold.structures.relax import relax
model = protein.from_pdb_string(files("pdbfixer").joinpath("tests/data/test.pdb").read_text())
assert relax(protein.to_pdb(model), RelaxSettings(max_iterations=1)).pdb
assert "openmm" in sys.modules
assert "jax" not in sys.modules and "haiku" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
