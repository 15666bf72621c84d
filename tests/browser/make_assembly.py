"""A finished run of assemblies with geometry that is known: a helix, B-DNA and ligands, written by snakefold.

`python -m tests.browser.make_assembly <folder>` writes one to look at.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from snakefold.engines.spec import ChainMsa, Result, TargetMsas
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, FoldResponse, TargetInput, TargetOutcome
from snakefold.molecules.entities import Assembly
from snakefold.plan.files import PlannedBatch, PlannedTarget
from snakefold.run.collect import collect_batch, merge_tables
from snakefold.run.outputs import Relaxation, target_files
from snakefold.structures import files as structures
from snakefold.structures.chains import Kind, chain_names, molecules_of
from snakefold.structures.prediction import Prediction
from snakefold.structures.tokens import Tokens
from tests.browser.make_results import VILLIN, alignment, helices

RECIPE = "0123456789abcdef"
#: Has a stereocentre, and elements of two letters.
SMILES = "C[C@H](Cl)c1ccc(Br)cc1"
DNA, BACK = "GCATGCAT", "ATGCATGC"
AFFINITY = {
    "affinity_pred_value": -1.5,
    "affinity_probability_binary": 0.75,
    "affinity_pred_value1": -1.25,
    "affinity_probability_binary1": 0.625,
    "affinity_pred_value2": -1.75,
    "affinity_probability_binary2": 0.875,
}

# Roughly of B-DNA: radius (Å), angle (degrees) and height (Å) of atoms of a strand that goes down.
_BACKBONE = {
    "P": (8.91, 95.2, 2.08),
    "O5'": (7.73, 98.8, 1.27),
    "C5'": (7.70, 88.5, 0.37),
    "C4'": (7.59, 79.9, 1.43),
    "C3'": (8.20, 69.9, 0.93),
    "O3'": (8.75, 73.3, -0.38),
    "C2'": (7.04, 61.5, 1.13),
    "C1'": (5.86, 67.4, 0.47),
    "O4'": (6.22, 82.1, 0.92),
}
_BASE = {"A": "N9", "G": "N9", "C": "N1", "T": "N1"}


def embedded(smiles: str, seed: int = 1) -> tuple[list[str], NDArray[np.float64]]:
    """Elements of the heavy atoms of a SMILES, in its order, and where RDKit puts them [N, 3], Å."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(molecule, randomSeed=seed) == 0
    AllChem.MMFFOptimizeMolecule(molecule, maxIters=2000)
    molecule = Chem.RemoveHs(molecule)
    elements = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    return elements, np.asarray(molecule.GetConformer().GetPositions())


def add_residue(
    chain: gemmi.Chain,
    name: str,
    number: int,
    atoms: Sequence[tuple[str, str, Sequence[float]]],
    plddt: float,
) -> None:
    """Add a residue of atoms: name, element, place (Å)."""
    residue = gemmi.Residue()
    residue.name, residue.seqid = name, gemmi.SeqId(number, " ")
    for atom_name, element, place in atoms:
        atom = gemmi.Atom()
        atom.name, atom.element = atom_name, gemmi.Element(element)
        atom.pos, atom.b_iso = gemmi.Position(*map(float, place)), plddt
        residue.add_atom(atom)
    chain.add_residue(residue)


def ligand_atoms(
    elements: Sequence[str], places: NDArray[np.float64]
) -> list[tuple[str, str, Sequence[float]]]:
    """Atoms named as engines do: element and a number."""
    return [
        (f"{element.upper()}{number}", element, place)
        for number, (element, place) in enumerate(zip(elements, places, strict=True), 1)
    ]


def _strand(model: gemmi.Model, name: str, sequence: str, plddt: float, *, back: bool) -> None:
    chain = gemmi.Chain(name)
    for place, letter in enumerate(sequence):
        atoms = []
        shown = {**_BACKBONE, _BASE[letter]: (4.6, 70.0, 0.3)}
        for atom, (radius, angle, height) in shown.items():
            turn, z = np.deg2rad(angle - 36.0 * place), height - 3.38 * place
            if back:  # the dyad is the x axis of the middle of the duplex
                turn, z = -turn - np.deg2rad(36.0 * (len(sequence) - 1)), -3.38 * (len(sequence) - 1) - z
            point = (radius * np.cos(turn) - 18.0, radius * np.sin(turn), z + 30.0)
            atoms.append((atom, atom[0], point))
        add_residue(chain, f"D{letter}", place + 1, atoms, plddt)
    model.add_chain(chain)


def prediction(assembly: Assembly, rank: int, shift: Sequence[float] = (0.0, 0.0, 0.0)) -> Prediction:
    """A model of an assembly of proteins (helices), DNA and ligands by SMILES, or ions, side by side."""
    model, plddt, chain_of, residue_of, atom_of = gemmi.Model(1), [], [], [], []
    molecules = molecules_of(assembly)
    ligands = 0
    for number, (name, molecule) in enumerate(zip(chain_names(len(molecules)), molecules, strict=True)):
        value = 92.0 - 12 * number - 2 * rank
        if molecule.kind is Kind.PROTEIN:
            length = len(molecule.sequence)
            made = structures.read(helices([molecule.sequence], np.full(length, value), 12.0 * number))
            chain = made[0][0].clone()
            chain.name = name
            for residue, code in zip(chain, molecule.components(), strict=True):
                residue.name = code
            model.add_chain(chain)
            count, atoms = length, [""] * length
        elif molecule.kind is Kind.DNA:
            strands = sum(chain.name != name and "D" in chain[0].name[:1] for chain in model)
            _strand(model, name, molecule.sequence, value, back=strands % 2 == 1)
            count, atoms = len(molecule.sequence), [""] * len(molecule.sequence)
        else:
            chain = gemmi.Chain(name)
            if molecule.smiles:
                elements, places = embedded(molecule.smiles)
            else:
                elements, places = [molecule.sequence.capitalize()], np.zeros((1, 3))
            places = places - places.mean(axis=0) + [-1.0, 6.5 + 8 * ligands, 8.0 + 4 * rank]
            found = ligand_atoms(elements, places)
            if not molecule.smiles:
                found = [(molecule.sequence, elements[0], places[0])]
            add_residue(chain, molecule.components()[0], 1, found, value)
            model.add_chain(chain)
            count, atoms, ligands = 1, [atom for atom, _, _ in found], ligands + 1
        plddt += [value] * count
        chain_of += [number] * len(atoms)
        residue_of += list(range(1, count + 1)) if count == len(atoms) else [1] * len(atoms)
        atom_of += atoms
    for chain in model:
        for residue in chain:
            for atom in residue:
                atom.pos += gemmi.Position(*shift)
    structure = gemmi.Structure()
    structure.add_model(model)
    tokens = Tokens(chain_of, residue_of, atom_of)
    places = np.arange(len(tokens))
    pae = np.clip(0.2 * np.abs(places[:, None] - places) + 5.0 * rank, 0, 31.75)
    pae[np.asarray(chain_of)[:, None] != np.asarray(chain_of)] = 16.0
    return Prediction(
        name=f"seed_0_model_{rank}",
        pdb="",
        structure=structure,
        plddt=np.asarray(plddt),
        ranking_confidence=0.9 - 0.1 * rank,
        pae=pae,
        ptm=0.8,
        iptm=0.7 if len(molecules) > 1 else None,
        tokens=tokens,
    )


def entities(*given: dict[str, Any], **more: Any) -> Assembly:
    """An assembly of entities as contracts have them."""
    return Assembly.model_validate({"entities": list(given), **more})


PROTEIN = {"kind": "protein", "sequence": VILLIN, "chains": ["P"]}
LIGAND = {"kind": "ligand", "smiles": SMILES, "chains": ["L"]}
ASSEMBLIES = {
    "all": entities(
        PROTEIN,
        {"kind": "dna", "sequence": DNA, "chains": ["X"]},
        {"kind": "dna", "sequence": BACK, "chains": ["Y"]},
        LIGAND,
        {"kind": "ligand", "ccd": ["CA"], "chains": ["I"]},
    ),
    "binder": entities(PROTEIN, LIGAND, affinity="L"),
    "plain": entities({**PROTEIN, "msa": "empty"}),
}


def make_assembly(
    results: Path,
    assemblies: dict[str, Assembly] | None = None,
    *,
    rehearsal: bool = False,
    models: int = 2,
    scores: dict[str, dict[str, float]] | None = None,
) -> Path:
    """Write and collect a batch of assemblies, by id; `scores` of the engine, by id."""
    assemblies = ASSEMBLIES if assemblies is None else assemblies
    scores = {"binder": AFFINITY} if scores is None else scores
    random = np.random.default_rng(5)
    members, targets, outcomes = {}, [], []
    for target_id, assembly in assemblies.items():
        target = TargetInput(
            id=target_id, key=assembly.key, chains=[], assembly=assembly.model_dump(mode="json")
        )
        request = FoldRequest(
            batch="b0001", engine="boltz2", recipe=RECIPE, rehearsal=rehearsal, targets=[target]
        )
        msas = [ChainMsa(alignment(VILLIN, 40, random), depth=41, neff=7.5)] * bool(target.searched)
        found = [prediction(assembly, rank, (30.0 * rank, 0, 0)) for rank in range(models)]
        members[target.result_key] = target_files(
            request,
            target,
            TargetMsas(chains=msas or [None]),
            result=Result(predictions=found, scores=scores.get(target_id, {})),
            relaxation=Relaxation(),
            seconds={"predict": 3.5},
            software="boltz2 2.13.0",
        )
        targets.append(target)
        who = {"id": target_id, "key": target.key, "result_key": target.result_key}
        outcomes.append(TargetOutcome(**who, state="done", seconds=3.5))
    batch = PlannedBatch(
        batch="b0001",
        engine="boltz2",
        recipe=RECIPE,
        msa_recipes={},
        rehearsal=rehearsal,
        chunks=[],
        targets=[PlannedTarget(target=each, duplicates=[]) for each in targets],
    )
    response = FoldResponse(
        batch=batch.batch,
        engine="boltz2",
        engine_version="2.13.0",
        recipe=RECIPE,
        rehearsal=rehearsal,
        outcomes=outcomes,
    )
    packed = {f"targets/{key}.tar.zst": archive.pack(files) for key, files in members.items()}
    (results / "plan" / "batches").mkdir(parents=True)
    (results / "predictions").mkdir()
    planned = results / "plan" / "batches" / "b0001.json"
    planned.write_text(batch.model_dump_json())
    archived = results / "predictions" / "b0001.tar.zst"
    archived.write_bytes(archive.pack({"response.json": response.model_dump_json().encode(), **packed}))
    rows = ["id\tstate\treason\tduplicate_of\tsource\tkey\tbatch"]
    rows += [f"{each.id}\tto_do\t\t\tin.yaml:1\t{each.key}\tb0001" for each in targets]
    (results / "plan" / "targets.tsv").write_text("\n".join(rows) + "\n")
    table = results / "tables" / "b0001.parquet"
    collect_batch(archived, planned, results / "structures", table)
    merge_tables([table], results / "plan" / "targets.tsv", results / "metrics.tsv", results / "failures.tsv")
    return results


if __name__ == "__main__":
    from snakefold.report import build

    print(build(make_assembly(Path(sys.argv[1]))))
