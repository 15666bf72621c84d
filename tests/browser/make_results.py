"""A small results folder, made by snakefold's own plan, writers and tables around helices of invented scores.

`python -m tests.browser.make_results <folder>` writes one to look at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import yaml
from numpy.typing import NDArray

from snakefold.config import load_config
from snakefold.engines.spec import ChainMsa, Result, TargetMsas
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, FoldResponse, TargetInput, TargetOutcome
from snakefold.kernel.errors import Reason
from snakefold.kernel.notes import Code, note
from snakefold.kernel.store import write_atomically
from snakefold.plan.files import read_batch
from snakefold.plan.groups import Groups
from snakefold.plan.present import Recipes
from snakefold.plan.provenance import write_provenance
from snakefold.plan.run import quoted_draft
from snakefold.plan.tables import write_plan
from snakefold.run.bill import write_bill
from snakefold.run.bill.execution import ExecutionRecord
from snakefold.run.collect import collect_batch, merge_tables
from snakefold.run.outputs import Relaxation, target_files
from snakefold.structures.confidence import rank
from snakefold.structures.prediction import Prediction

UBQ = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
CRN = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"
GB1 = "MTYKLILNGKTLKGETTTEAVDAATAEKVFKQYANDNGVDGEWTYDDATKTFTVTE"
VILLIN = "LSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF"

#: Draws a structure of chains and their pLDDT, as PDB text.
Draw = Callable[[list[str], NDArray[np.float64]], str]
SETTINGS = {
    "model_preset": "monomer_ptm",
    "models": [1, 2, 3],
    "num_recycle": 3,
    "num_seeds": 1,
    "random_seed": 0,
}
#: A recipe's name.
NAME = "0" * 16

#: Headers that would run a script, break out of an attribute or a script, or fill or turn the page.
HOSTILE = (
    "hostile1 <script>window.hacked=1</script><img src=x onerror=window.hacked=2>",
    "hostile2 \"'><svg onload=window.hacked=3> </script><script>window.hacked=4</script> \u2028"
    " ${window.hacked=5}",
    "hostile3 " + "A<b>" * 2500,
    "hostile4 \u202egnitaerht\u202c عكس {{ 7*7 }} {% include 'x' %} javascript:window.hacked=6",
)

#: What the engine notes of targets.
NOTES = {
    "crambin": [note(Code.RELAX_FAILED, "<b onmouseover=window.hacked=8>")],
    "villin_headpiece": [note(Code.LIMITED_MSA, "96 of 105 rows"), note(Code.UNKNOWN_RESIDUES, "1 (X)")],
}

FASTA = f""">ubiquitin sp|P0CG48|1-76 Polyubiquitin-C
{UBQ}
>crambin
{CRN}
>villin_headpiece
{VILLIN}
>gb1_dimer two copies of protein G B1
{GB1}:{GB1}
>crambin_gb1
{CRN}:{GB1}
>ubiquitin_again the same sequence under another name
{UBQ}
>lost_one
{GB1[::-1]}
>not_a_protein <img src=x onerror=window.hacked=7>
ACGT123
"""

# N, CA, C and O of an alpha helix: radius (Å), angle (degrees) and height (Å) relative to CA.
_HELIX = (("N", 1.55, -27.5, -0.87), ("CA", 2.29, 0.0, 0.0), ("C", 1.63, 26.5, 1.07), ("O", 2.01, 21.0, 2.27))
_THREE = {letter: gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA) for letter in "ARNDCQEGHILKMFPSTWYVX"}


def heavy_atom_names() -> dict[str, list[str]]:
    """Heavy atoms of every kind of residue by its letter, backbone first."""
    from alphafold.common import residue_constants

    backbone = ["N", "CA", "C", "O"]
    return {
        residue_constants.restype_3to1[name]: backbone + [atom for atom in atoms if atom not in backbone]
        for name, atoms in residue_constants.residue_atoms.items()
    }


def atom_line(
    serial: int, name: str, residue: tuple[str, int, int], place: NDArray[np.float64], plddt: float
) -> str:
    """A line of PDB text of an atom at `place` [3], Å; `residue`: letter, chain from 0, number from 1."""
    letter, chain, number = residue
    x, y, z = place
    return (
        f"ATOM  {serial:5d}  {name:<3} {_THREE[letter]} {chr(65 + chain)}{number:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00{plddt:6.2f}          {name[0]:>2}  "
    )


def helices(chains: list[str], plddt: NDArray[np.float64], shift: float = 0.0) -> str:
    """Backbones of straight alpha helices, one a chain, 12 Å apart, as PDB text."""
    lines, serial, residue = [], 0, 0
    for number, chain in enumerate(chains):
        for place, letter in enumerate(chain):
            for atom, radius, angle, height in _HELIX:
                serial += 1
                turn = np.deg2rad(100 * place + angle)
                x, y = radius * np.cos(turn) + 12 * number + shift, radius * np.sin(turn)
                point = np.array([x, y, 1.5 * place + height])
                lines.append(atom_line(serial, atom, (letter, number, place + 1), point, plddt[residue]))
            residue += 1
        lines.append("TER")
    return "\n".join([*lines, "END", ""])


def alignment(query: str, rows: int, random: np.random.Generator) -> str:
    """An A3M of mutated, gapped copies of `query`, with an insertion here and there."""
    letters = np.array(list(query))
    lines = [f">query\n{query}"]
    for row in range(rows):
        changed = random.random(len(query)) < random.uniform(0.05, 0.8)
        text = np.where(changed, random.choice(list("ACDEFGHIKLMNPQRSTVWY"), len(query)), letters)
        start, end = sorted(random.integers(0, len(query) + 1, 2))
        text[: start // 2] = "-"
        text[(len(query) + end) // 2 :] = "-"
        lines.append(f">row{row}\n{text[0]}{'ag' if row % 3 == 0 else ''}{''.join(text[1:])}")
    return "\n".join([*lines, ""])


def predictions(
    target: TargetInput, random: np.random.Generator, models: int, draw: Draw
) -> list[Prediction]:
    """Models with invented pLDDT in all four bands, and a PAE that grows along and between chains."""
    length = target.length
    chain = np.repeat(np.arange(len(target.chains)), [len(item) for item in target.chains])
    found = []
    for number in range(models):
        wave = (
            68 + 27 * np.sin(np.linspace(0, 5, length) + number) - 3 * number + random.normal(0, 1.5, length)
        )
        plddt = np.clip(wave, 5, 99)
        apart = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
        pae = np.clip(
            apart * 0.25 + 12 * (chain[:, None] != chain) + random.random((length, length)), 0, 31.75
        )
        complex_ = len(target.chains) > 1
        ptm, iptm = 0.8 - 0.1 * number, 0.6 - 0.1 * number if complex_ else None
        found.append(
            Prediction(
                name=f"model_{number + 1}_{'multimer_v3' if complex_ else 'ptm'}_pred_0",
                pdb=draw(target.chains, plddt),
                plddt=plddt,
                ranking_confidence=0.8 * iptm + 0.2 * ptm if iptm is not None else float(plddt.mean()),
                pae=pae,
                ptm=ptm,
                iptm=iptm,
                recycles=3,
                warnings=NOTES.get(target.id, []),
            )
        )
    return rank(found)


def make_results(
    folder: Path,
    *,
    rehearsal: bool = True,
    fasta: str = FASTA,
    hostile: bool = False,
    models: int = 3,
    draw: Draw = helices,
) -> Path:
    """Write a finished run into `folder/results`.

    Args:
        hostile: adds targets with the headers of `HOSTILE`, and hostile texts to the provenance.
        models: a target.
        draw: makes a structure of chains and pLDDT.
    """
    random = np.random.default_rng(7)
    if hostile:
        # Every one has its own sequence, so that none is a duplicate of another.
        fasta += "".join(f">{text}\n{VILLIN}{'ACDE'[: n + 1]}\n" for n, text in enumerate(HOSTILE))
    folder.mkdir(parents=True, exist_ok=True)
    source, results = folder / "proteins.fasta", folder / "results"
    source.write_text(fasta, encoding="utf-8")
    config = load_config({"input": str(source), "results": str(results), "gpu": {"classes": ["ada_24"]}})
    write_atomically(results / "config.yaml", yaml.safe_dump(config.model_dump(mode="json")).encode())
    # Nothing here is looked up by a recipe: every name will do.
    recipes = Recipes([NAME] * 4, NAME, NAME, [rehearsal] * 4)
    draft, _ = quoted_draft(
        config,
        results / "plan",
        lambda targets: recipes,
        lambda line: None,
    )
    write_plan(results / "plan", draft)
    known = results / "known.pdb"
    # Longer than the model, so that it can be seen beside it.
    longer = UBQ + "A" * 30
    known.write_text(helices([longer], np.full(len(longer), 50.0), shift=5.0))
    tables = []
    for path in sorted((results / "plan" / "batches").glob("*.json")):
        planned = read_batch(results / "plan", path.stem)
        request = FoldRequest(
            batch=planned.batch,
            engine="alphafold2",
            recipe=NAME,
            rehearsal=rehearsal,
            targets=[item.target for item in planned.targets],
        )
        packed = results / "predictions" / f"{planned.batch}.tar.zst"
        packed.parent.mkdir(exist_ok=True)
        packed.write_bytes(_archive(request, random, models, draw))
        _record(results, planned.batch, request)
        table = results / "tables" / f"{planned.batch}.parquet"
        collect_batch(packed, path, results / "structures", table, {"ubiquitin": str(known)})
        tables.append(table)
    merge_tables(tables, results / "plan" / "targets.tsv", results / "metrics.tsv", results / "failures.tsv")
    write_bill(results)
    write_provenance(results / "provenance.json", config, Groups(config), _made_with(rehearsal, hostile))
    return results


def _are_complexes(request: FoldRequest) -> bool:
    return any(len(target.chains) > 1 for target in request.targets)


def _record(results: Path, batch: str, request: FoldRequest) -> None:
    """What the executor and Snakemake write down about a job."""
    seconds = sum(target.length for target in request.targets) / 7 + 40
    record = ExecutionRecord(
        executor="invented",
        gpu="ada_24",
        dollars_per_second=0.0002,
        start_seconds=12,
        billed_seconds=seconds,
        idle_seconds=5,
        attempts=2 if _are_complexes(request) else 1,
    )
    write_atomically(results / "executions" / f"{batch}.json", record.model_dump_json().encode())
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    for name, wall, cpu in (
        (f"predict/{batch}", seconds + 20, "NA"),
        ("plan", 3.5, "3.10"),
        (f"msa/{batch}", 90, "170"),
    ):
        row = f"{wall}\t0:01:00\t412.5\t-\t-\t-\t0\t0\t99.0\t{cpu}\n"
        write_atomically(results / "benchmarks" / f"{name}.tsv", (head + row).encode())


def _made_with(rehearsal: bool, hostile: bool) -> dict[str, Any]:
    """A recipe as the plan writes it."""
    digest = {"name": "uniref90.fasta", "size": 855592, "ends_sha256": "a38714340b1a14d8fe052bfa53054b4d"}
    name = "uniref90<script>window.hacked=10</script>" if hostile else "uniref90"
    weights: dict[str, Any] = {"model_1_ptm": {"sha256": "f" * 64}}
    msa = {"tool": "jackhmmer", "databases": [{"name": name, "files": [digest]}]}
    engine = {"engine": "alphafold2", "version": "2.3.20", "settings": SETTINGS}
    engine["weights"] = {"rehearsal": True, "blocks": 2} if rehearsal else weights
    return {"folds": [{"msa": msa, "engine": engine}, {}, {}, {}], "msa": msa}


def _archive(request: FoldRequest, random: np.random.Generator, models: int, draw: Draw) -> bytes:
    files, outcomes = {}, []
    for target in request.targets:
        who = {"id": target.id, "key": target.key, "result_key": target.result_key}
        if target.id == "lost_one":
            message = "The device's memory did not hold it: <script>window.hacked=9</script>"
            advice = "Ask for a larger device."
            failed = {"reason": Reason.OUT_OF_MEMORY, "message": message, "advice": advice}
            outcomes.append(TargetOutcome(**who, state="failed", **failed))
            continue
        chains = [
            ChainMsa(alignment(chain, int(random.integers(40, 400)), random), depth=41, neff=17.25)
            for chain in dict.fromkeys(target.chains)
        ]
        members = target_files(
            request,
            target,
            TargetMsas(chains=chains),
            result=Result(predictions=predictions(target, random, models, draw)),
            relaxation=Relaxation(),
            seconds={"features": 0.41, "predict": 7.9, "relax": 2.25},
            software="alphafold2 2.3.20",
        )
        files[f"targets/{target.result_key}.tar.zst"] = archive.pack(members)
        outcomes.append(TargetOutcome(**who, state="done", seconds=round(target.length / 7, 3)))
    response = FoldResponse(
        batch=request.batch,
        engine=request.engine,
        engine_version="2.3.20",
        recipe=request.recipe,
        rehearsal=request.rehearsal,
        outcomes=outcomes,
        # Complexes: a GPU was planned.
        device="CPU" if _are_complexes(request) else "NVIDIA L4",
    )
    return archive.pack({"response.json": response.model_dump_json().encode(), **files})


if __name__ == "__main__":
    from snakefold.report import build

    print(build(make_results(Path(sys.argv[1]), hostile="--hostile" in sys.argv)))
