"""What relaxation costs, beside AlphaFold's own: CPU seconds of both sides, measured in one run.

    python benchmarks/relax.py [--residues 36 54 76 108 143 300]

The models are the first residues of mLST8 (PDB 4JSV, chain C, all heavy atoms; from PDBFixer's wheel), in the
lengths of the demo's targets and one of 300; and one as a rehearsal makes them: 54 residues with atoms moved
by 0.7 Å, at most 20 steps a minimisation, three rounds. Both sides get the same PDB text:

- AlphaFold: `alphafold.relax.amber_minimize.run_pipeline` (alphafold-colabfold), on the CPU;
- snakefold: `snakefold.structures.relax.relax`.

Each side relaxes in processes of its own, the sides by turns:

- cold: a process that starts, imports, and relaxes this model; all its CPU seconds;
- new length: a process that has relaxed a model of 30 residues relaxes this one, as within a batch;
- same length: it relaxes the model again.

CPU seconds of all threads; on a machine that does other things too, the clock says little. "Minimising" is
the part of snakefold's side that OpenMM spends in minimisations of AMBER's energy, with a new length. The
result is written to relax.json and relax.md beside this file.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SIDES = ("AlphaFold", "snakefold")
STATES = ("cold", "new length", "same length")
REHEARSAL = "54, rehearsal"


def main() -> None:
    """Measure all cases on both sides and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--residues", type=int, nargs="+", default=[36, 54, 76, 108, 143, 300])
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--cases", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.side, options.cases)))
        return
    cases = [*map(str, options.residues), REHEARSAL]
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for case in cases:
        rows[case] = {side: both_ways(side, case) for side in SIDES}
        print(case, rows[case], flush=True)
    versions = {name: importlib.metadata.version(name) for name in ("alphafold-colabfold", "openmm", "jax")}
    result = {"cores": os.cpu_count(), "versions": versions, "cpu_seconds": rows}
    (HERE / "relax.json").write_text(json.dumps(result, indent=1) + "\n")
    (HERE / "relax.md").write_text(report(result))


def both_ways(side: str, case: str) -> dict[str, float]:
    """A side's CPU seconds for one case, by state."""
    first = [(case, "cold")]
    others = [("30", ""), (case, "new length"), (case, "same length")]
    seconds: dict[str, float] = {}
    for process in (first, others):
        command = [sys.executable, __file__, "--side", side, "--cases", *(name for name, _ in process)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for (_, state), (total, since, minimising) in zip(process, told, strict=True):
            if state:
                seconds[state] = round(total if state == "cold" else since, 2)
            if state == "new length":
                seconds["minimising"] = round(minimising, 2)
    return seconds


def measure(side: str, cases: list[str]) -> list[tuple[float, float, float]]:
    """Relax one model after another; CPU seconds of the process, of this model, and of its minimisations."""
    told = []
    spent = watch_minimiser()
    for case in cases:
        pdb = model(case)
        start = time.process_time()
        spent[0] = 0.0
        {"AlphaFold": alphafold, "snakefold": snakefold}[side](pdb, 20 if case == REHEARSAL else 0)
        told.append((time.process_time(), time.process_time() - start, spent[0]))
    return told


def watch_minimiser() -> list[float]:
    """CPU seconds that OpenMM minimises with a force field, counted from now."""
    import openmm

    spent, minimise = [0.0], openmm.LocalEnergyMinimizer.minimize

    def watched(context: Any, *args: Any, **kwargs: Any) -> None:
        start = time.process_time()
        minimise(context, *args, **kwargs)
        if any(isinstance(force, openmm.NonbondedForce) for force in context.getSystem().getForces()):
            spent[0] += time.process_time() - start

    openmm.LocalEnergyMinimizer.minimize = staticmethod(watched)
    return spent


def model(case: str) -> str:
    """PDB text."""
    import numpy as np
    from alphafold.common import protein

    whole = protein.from_pdb_string(files("pdbfixer").joinpath("tests/data/4JSV.pdb").read_text())
    kept = np.flatnonzero(whole.chain_index == 2)[: int(case.partition(",")[0])]
    fields = {field.name: getattr(whole, field.name)[kept] for field in dataclasses.fields(whole)}
    if case == REHEARSAL:
        fields["atom_positions"] += np.random.default_rng(1).normal(0, 0.7, fields["atom_positions"].shape)
    return str(
        protein.to_pdb(dataclasses.replace(whole, **{**fields, "chain_index": np.zeros(len(kept), int)}))
    )


def alphafold(pdb: str, max_iterations: int) -> None:
    """As AlphaFold relaxes, but with three attempts instead of a hundred."""
    from alphafold.common import protein
    from alphafold.relax import amber_minimize, utils

    given = protein.from_pdb_string(pdb)
    found = amber_minimize.run_pipeline(
        prot=given,
        max_iterations=max_iterations,
        tolerance=2.39,
        stiffness=10.0,
        max_outer_iterations=3,
        max_attempts=3,
        use_gpu=False,
    )
    relaxed = protein.from_pdb_string(found["min_pdb"])
    utils.assert_equal_nonterminal_atom_types(relaxed.atom_mask, given.atom_mask)


def snakefold(pdb: str, max_iterations: int) -> None:
    """As a batch relaxes."""
    from snakefold.kernel.contracts import RelaxSettings
    from snakefold.structures.relax import relax

    relax(pdb, RelaxSettings(max_iterations=max_iterations, use_gpu_relax=False))


def report(result: dict[str, Any]) -> str:
    """The table, in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        "# Relaxation",
        "",
        f"`python benchmarks/relax.py`, {result['cores']} cores that others used too; {versions}.",
        "CPU seconds a model, AlphaFold's own relaxation / snakefold's (ratio). Cold: with the start of the",
        "process; the rest: as within a batch.",
        "",
        f"| residues | {' | '.join(STATES)} | of snakefold's, minimising |",
        f"|---|{'---|' * len(STATES)}---|",
    ]
    for case, sides in result["cpu_seconds"].items():
        theirs, ours = (sides[side] for side in SIDES)
        cells = [f"{theirs[s]:.1f} / {ours[s]:.1f} ({ours[s] / theirs[s]:.2f})" for s in STATES]
        lines.append(f"| {case} | {' | '.join(cells)} | {ours['minimising']:.1f} |")
    demo = [sides for case, sides in result["cpu_seconds"].items() if case.isdecimal() and int(case) < 150]
    sums = [[sum(sides[side][state] for sides in demo) for side in SIDES] for state in STATES]
    cells = [f"{theirs:.1f} / {ours:.1f} ({ours / theirs:.2f})" for theirs, ours in sums]
    lines.append(f"| below 150, all | {' | '.join(cells)} | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
