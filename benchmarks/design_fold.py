"""Do designs fold into their backbone? ProteinMPNN's sequences of an antibody, folded with flash-abb.

    python benchmarks/design_fold.py [--designs 16]

Real parameters of both, in the default environment. Two sets of equally many sequences are folded and laid
over the backbone (TM-align): designs at T = 0.1, and the native sequence with its residues shuffled within
each chain. Shuffled sequences are no antibodies, and the engine refuses them before it folds: here they go
straight through its network. They tell what the network makes of any sequence.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from snakefold.engines.checkpoint import read_tensors
from snakefold.engines.flashabb import weights as folder_weights
from snakefold.engines.flashabb.network import Network
from snakefold.engines.flashabb.session import expected_lddt
from snakefold.engines.proteinmpnn import session, weights
from snakefold.engines.proteinmpnn.settings import ProteinMpnnSettings
from snakefold.molecules.backbones import BackboneChain, read_backbone
from snakefold.molecules.designs import Wanted, make_design

HERE = Path(__file__).resolve().parent
BACKBONE = HERE.parent / "resources" / "demo" / "references" / "7CTH-HL.pdb"
#: Mean scTM that designs must exceed, and controls stay below.
LEAST, MOST = 0.9, 0.7


def designs(data: bytes, chains: list[BackboneChain], number: int) -> tuple[list[list[str]], float]:
    """Designed sequences by chain without gaps, and their mean recovery."""
    chosen = ProteinMpnnSettings(num_seq_per_target=number)
    path = weights.parameters_file(weights.locate("auto"), chosen.kind, chosen.model_name)
    design = make_design(chains, data, "pdb", Wanted())
    engine = session.ProteinMpnnSession(chosen, weights.load(path, chosen.kind, chosen.model_name), None)
    with jax.default_matmul_precision("highest"):
        found = engine.design(session.prepare(design, chains, chosen))
    sequences = []
    for sample in found.samples:
        parts, start = [], 0
        for chain in session.in_order(design, chains):
            letters = sample.residues[start : start + len(chain)]
            parts.append("".join(each for each, number in zip(letters, chain.numbers, strict=True) if number))
            start += len(chain)
        sequences.append(parts)
    return sequences, float(np.mean([sample.recovery for sample in found.samples]))


def shuffled(chains: list[BackboneChain], number: int) -> list[list[str]]:
    """The native residues of each chain in another order."""
    found = []
    for seed in range(number):
        order = random.Random(seed)
        parts = []
        for chain in chains:
            letters = [each for each, number in zip(chain.sequence, chain.numbers, strict=True) if number]
            order.shuffle(letters)
            parts.append("".join(letters))
        found.append(parts)
    return found


def laid_over(
    atoms: NDArray[np.float32], sequence: str, backbone: NDArray[np.float64]
) -> tuple[float, float]:
    """scTM, by the backbone's length, and RMSD (Å) of all CA, residue by residue."""
    import tmtools

    ca = atoms[:, 1].astype(np.float64)
    moved, fixed = ca - ca.mean(0), backbone - backbone.mean(0)
    u, _, vt = np.linalg.svd(moved.T @ fixed)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    rmsd = float(np.sqrt(((moved @ turn - fixed) ** 2).sum(1).mean()))
    return float(tmtools.tm_align(ca, backbone, sequence, sequence).tm_norm_chain2), rmsd


def measure(number: int) -> dict[str, Any]:
    """Means of each set."""
    data = BACKBONE.read_bytes()
    chains = read_backbone(data)
    backbone = np.concatenate([chain.coordinates[:, 1][chain.complete] for chain in chains]).astype(float)
    start = time.process_time()
    made, recovery = designs(data, chains, number)
    designing = time.process_time() - start
    path = folder_weights.parameters_file(folder_weights.locate("auto"))
    network = Network(read_tensors(folder_weights.read(path), str(path)))
    sets = {"designs": made, "shuffled": shuffled(chains, number)}
    rows = {}
    start = time.process_time()
    for name, sequences in sets.items():
        scores = []
        for heavy, light in sequences:
            atoms, logits = network(heavy, light)
            scores.append((*laid_over(atoms, heavy + light, backbone), float(expected_lddt(logits).mean())))
        tm, rmsd, plddt = (list(map(float, each)) for each in zip(*scores, strict=True))
        rows[name] = {
            "sctm": float(np.mean(tm)),
            "lowest_sctm": min(tm),
            "highest_sctm": max(tm),
            "scrmsd": float(np.mean(rmsd)),
            "plddt": float(np.mean(plddt)),
        }
    return {
        "backbone": BACKBONE.name,
        "sequences": number,
        "recovery": recovery,
        "sets": rows,
        "limits": {"designs": LEAST, "shuffled": MOST},
        "cpu_seconds": {"designing": designing, "folding": time.process_time() - start},
        "versions": {"jax": version("jax")},
    }


def told(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    rows = "\n".join(
        f"| {name} | {row['sctm']:.3f} ({row['lowest_sctm']:.3f} to {row['highest_sctm']:.3f}) | "
        f"{row['scrmsd']:.2f} | {row['plddt']:.1f} |"
        for name, row in result["sets"].items()
    )
    return f"""# Designs of an antibody, folded

`python benchmarks/design_fold.py`: {result["sequences"]} designs of {result["backbone"]}
(ProteinMPNN v_48_020, T = 0.1, recovery {result["recovery"]:.3f}), and as many native sequences with
shuffled residues, folded with flash-abb's network. Real parameters, jax {result["versions"]["jax"]}, no GPU.

| set | scTM (lowest to highest) | scRMSD, Å | mean pLDDT |
|---|---|---|---|
{rows}

Limits: mean scTM of designs above {LEAST}, of shuffled sequences below {MOST}.
"""


def main() -> None:
    """Measure, and write the result beside this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--designs", type=int, default=16, help="sequences of each set")
    parser.add_argument("--out", type=Path, default=HERE / "design_fold.json")
    options = parser.parse_args()
    result = measure(options.designs)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(told(result))
    print(told(result))
    if result["sets"]["designs"]["sctm"] <= LEAST or result["sets"]["shuffled"]["sctm"] >= MOST:
        raise SystemExit("A limit is not met.")


if __name__ == "__main__":
    main()
