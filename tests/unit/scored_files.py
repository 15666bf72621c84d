"""A run of a monomer and a complex: known backbones, shaken, written and collected by snakefold itself."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from snakefold.engines.spec import ChainMsa, Result, TargetMsas
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, FoldResponse, TargetInput, TargetOutcome
from snakefold.kernel.errors import Reason
from snakefold.kernel.recipes import sequence_key
from snakefold.plan.files import PlannedBatch, PlannedTarget
from snakefold.run.collect import collect_batch, merge_tables
from snakefold.run.outputs import Relaxation, target_files
from snakefold.structures.prediction import Prediction

REFERENCES = Path(__file__).parents[2] / "resources" / "demo" / "references"
#: The antibody's chains H and L, and a nanobody.
COMPLEX, MONOMER = "7CTH-HL.pdb", "7CFN-N.pdb"
RECIPE = "0123456789abcdef"


def known(name: str) -> gemmi.Structure:
    """A known backbone, residues numbered from 1, with CB atoms where its N, CA and C imply them."""
    structure = gemmi.read_structure(str(REFERENCES / name))
    for chain in structure[0]:
        for number, residue in enumerate(chain, 1):
            residue.seqid = gemmi.SeqId(number, " ")
            if residue.name != "GLY":
                n, ca, c = (np.array(residue.find_atom(atom, "*").pos.tolist()) for atom in ("N", "CA", "C"))
                # A tetrahedral carbon: bisector of the two bonds, tilted out of their plane; 1.53 Å.
                inward, across = (n + c) / 2 - ca, np.cross(ca - n, c - ca)
                outward = -0.577 * inward / np.linalg.norm(inward)
                outward -= 0.816 * across / np.linalg.norm(across)
                atom = gemmi.Atom()
                atom.name, atom.element = "CB", gemmi.Element("C")
                atom.pos = gemmi.Position(*(ca + 1.53 * outward / np.linalg.norm(outward)))
                residue.add_atom(atom)
    return structure


def sequences(structure: gemmi.Structure) -> list[str]:
    return [gemmi.one_letter_code([residue.name for residue in chain]).upper() for chain in structure[0]]


def shaken(
    structure: gemmi.Structure, random: np.random.Generator, by: float, plddt: NDArray[np.float64]
) -> str:
    """PDB text of a model: residues moved as a smooth wave would, chains A, B, …; pLDDT in the B column."""
    model = structure.clone()
    row = 0
    for letter, chain in zip("ABCD", model[0], strict=False):
        chain.name = letter
        steps = np.cumsum(random.normal(0, by / 6, (len(chain), 3)), axis=0)
        for residue, step in zip(chain, steps - steps.mean(axis=0), strict=True):
            for atom in residue:
                atom.pos = gemmi.Position(*(np.array(atom.pos.tolist()) + step))
                atom.b_iso = float(plddt[row])
            row += 1
    return str(model.make_pdb_string(gemmi.PdbWriteOptions(minimal=True, cryst1_record=False)))


def predictions(name: str, random: np.random.Generator, models: int) -> tuple[list[str], list[Prediction]]:
    """Chains of a known structure, and models of it in rank order with PAE to fit."""
    structure = known(name)
    chains = sequences(structure)
    lengths = [len(chain) for chain in chains]
    owner = np.repeat(np.arange(len(chains)), lengths)
    found = []
    for number in range(models):
        plddt = np.round(np.clip(random.normal(80 - 5 * number, 18, sum(lengths)), 5, 99.9), 2)
        error = (
            random.gamma(2, 1.5, (sum(lengths), sum(lengths))) + random.uniform(0, 9, sum(lengths))[:, None]
        )
        pae = np.clip(error + 2 * (owner[:, None] != owner), 0.25, 31.75)
        several = len(chains) > 1
        found.append(
            Prediction(
                name=f"model_{number + 1}_{'multimer_v3' if several else 'ptm'}_pred_0",
                pdb=shaken(structure, random, 1 + 2 * number, plddt),
                plddt=plddt,
                ranking_confidence=0.9 - 0.1 * number,
                pae=pae,
                ptm=0.8 - 0.1 * number,
                iptm=0.7 - 0.1 * number if several else None,
            )
        )
    return chains, found


def make_run(results: Path, *, rehearsal: bool = False, models: int = 3) -> Path:
    """Write and collect a batch of `nanobody` and `antibody`, both with a reference, a copy and a failure."""
    random = np.random.default_rng(11)
    members, targets = {}, {}
    for target_id, name in (("nanobody", MONOMER), ("antibody", COMPLEX)):
        chains, found = predictions(name, random, models)
        target = TargetInput(id=target_id, key=sequence_key(chains), chains=chains)
        request = FoldRequest(
            batch="b0001-l0236", engine="alphafold2", recipe=RECIPE, rehearsal=rehearsal, targets=[target]
        )
        targets[target_id] = target
        members[target.result_key] = target_files(
            request,
            target,
            TargetMsas(chains=[ChainMsa(f">query\n{chain}\n", depth=12, neff=3.5) for chain in chains]),
            result=Result(predictions=found),
            relaxation=Relaxation(warnings=["relax_failed: rank 0 (model_1_ptm_pred_0): no\tforce"]),
            seconds={"predict": 3.5},
            software="alphafold2 2.3.20",
        )
    failed = TargetInput(id="broken", key=sequence_key(["ACDEFGHIK"]), chains=["ACDEFGHIK"])
    return _collect(results, [*targets.values()], failed, members, rehearsal)


def _collect(
    results: Path,
    targets: list[TargetInput],
    failed: TargetInput,
    members: dict[str, dict[str, bytes]],
    rehearsal: bool,
) -> Path:
    batch = PlannedBatch(
        batch="b0001-l0236",
        engine="alphafold2",
        recipe=RECIPE,
        msa_recipes={},
        rehearsal=rehearsal,
        chunks=[],
        targets=[
            PlannedTarget(target=item, duplicates=["copy"] if item.id == "nanobody" else [])
            for item in [*targets, failed]
        ],
    )
    outcomes = [
        TargetOutcome(id=item.id, key=item.key, result_key=item.result_key, state="done", seconds=3.5)
        for item in targets
    ]
    outcomes.append(
        TargetOutcome(
            id=failed.id, key=failed.key, result_key=failed.result_key, state="failed", reason=Reason.TIMEOUT
        )
    )
    response = FoldResponse(
        batch=batch.batch,
        engine="alphafold2",
        engine_version="2.3.20",
        recipe=RECIPE,
        rehearsal=rehearsal,
        outcomes=outcomes,
    )
    packed = {f"targets/{key}.tar.zst": archive.pack(files) for key, files in members.items()}
    (results / "plan" / "batches").mkdir(parents=True)
    (results / "predictions").mkdir()
    planned = results / "plan" / "batches" / f"{batch.batch}.json"
    planned.write_text(batch.model_dump_json())
    archived = results / "predictions" / f"{batch.batch}.tar.zst"
    archived.write_bytes(archive.pack({"response.json": response.model_dump_json().encode(), **packed}))
    rows = ["id\tstate\treason\tduplicate_of\tsource\tkey\tbatch"]
    rows += [
        f"{item.id}\tto_do\t\t\tin.fasta:{n}\t{item.key}\t{batch.batch}"
        for n, item in enumerate([*targets, failed])
    ]
    rows += [f"copy\tduplicate_of\t\tnanobody\tin.fasta:9\t{targets[0].key}\t{batch.batch}"]
    rows += ["dna\trefused\tNot a protein: J\t\tin.fasta:11\t\t"]
    (results / "plan" / "targets.tsv").write_text("\n".join(rows) + "\n")
    recollect(results)
    return results


def recollect(results: Path, *, references: bool = True, pae_json: bool = False) -> None:
    """Collect the batch (again), and merge its table into metrics and failures."""
    batch = "b0001-l0236"
    names = {"nanobody": MONOMER, "antibody": COMPLEX} if references else {}
    collect_batch(
        results / "predictions" / f"{batch}.tar.zst",
        results / "plan" / "batches" / f"{batch}.json",
        results / "structures",
        results / "tables" / f"{batch}.parquet",
        {target: str(REFERENCES / name) for target, name in names.items()},
        pae_json=pae_json,
    )
    merge_tables(
        [results / "tables" / f"{batch}.parquet"],
        results / "plan" / "targets.tsv",
        results / "metrics.tsv",
        results / "failures.tsv",
        {"nanobody": 0.25},
    )
