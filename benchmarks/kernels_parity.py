"""The whole network with fused kernels, without a GPU: Pallas interprets them. REHEARSAL.

    python benchmarks/kernels_parity.py

One protein of 25 residues with random parameters, in three forms: without kernels in float32 and in bfloat16,
and with Pallas kernels in bfloat16. With random parameters coordinates are chaotic in 16 bits, so pLDDT and
PAE are compared: fused kernels may differ from bfloat16 without them by no more than bfloat16 itself differs
from float32, times 2. It takes a CPU minute, so the tests compare each kernel alone
(tests/engine/test_kernels.py) and leave this to whoever raises a version of alphafold-colabfold.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from snakefold.engines.alphafold2 import ENGINE, kernels, rehearsal
from snakefold.engines.alphafold2.kernels import Running
from snakefold.engines.alphafold2.settings import Kernels
from snakefold.structures.prediction import Prediction

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the tests' small targets, and their interpreter
SEQUENCE, ROWS, BLOCKS, FACTOR = "MKTAYIAKQRQISFVKSHFSRQLEE", 12, 1, 2.0


def predict(folder: Path, **settings: Any) -> Prediction:
    """One model of the protein."""
    from tests.engine.toys import chain_msas, make_request, make_target

    target = make_target("t", SEQUENCE)
    msas = chain_msas(target, ROWS)
    request = make_request([target], models=[3], max_msa_clusters=8, max_extra_msa=8, **settings)
    session = ENGINE.start(request, {target.result_key: msas}, folder, None)
    (found,) = session.predict(target, msas).predictions
    return found


def fused(folder: Path) -> Prediction:
    """With Pallas kernels, which a CPU does not take unless it is told that they run."""
    from tests.engine.fused import interpreted

    with interpreted():
        kernels.running = lambda settings: Running(settings.kernels)
        return predict(folder, precision="bfloat16", kernels=Kernels.PALLAS)


def differences(one: Prediction, other: Prediction) -> dict[str, float]:
    """The largest of a residue's pLDDT, and of PAE in Å."""
    pairs = {"plddt": (one.plddt, other.plddt), "pae": (one.pae, other.pae)}
    return {name: round(float(np.abs(np.subtract(*pair)).max()), 3) for name, pair in pairs.items()}


def main() -> int:
    """Compare, print, and write kernels_parity.json and .md beside this file; 1: too far off."""
    # Compiling costs a third less, and what is compiled runs once. JAX reads it when it starts.
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rehearsal.draw(folder, ["model_3_ptm"], BLOCKS)
        exact, stock = predict(folder), predict(folder, precision="bfloat16", kernels=Kernels.STOCK)
        other = fused(folder)
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "versions": {each: version(each) for each in ("colabfold", "alphafold-colabfold", "jax")},
        "bfloat16_to_float32": differences(stock, exact),
        "fused_to_bfloat16": differences(other, stock),
        "fused_to_float32": differences(other, exact),
        "mean_plddt": round(float(stock.plddt.mean()), 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime),
    }
    (HERE / "kernels_parity.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "kernels_parity.md").write_text(report(found))
    sys.stdout.write(report(found))
    yardstick, off = found["bfloat16_to_float32"], found["fused_to_bfloat16"]
    wrong = [name for name, value in off.items() if value > FACTOR * yardstick[name]]
    if wrong:
        sys.stderr.write(f"Fused kernels are too far off: {', '.join(wrong)}.\n")
    return 1 if wrong else 0


def report(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = {
        "bfloat16 and float32, without kernels": found["bfloat16_to_float32"],
        f"Pallas kernels and none, bfloat16 (at most {FACTOR:g} times the first row)": found[
            "fused_to_bfloat16"
        ],
        "Pallas kernels, and float32 without": found["fused_to_float32"],
    }
    table = "\n".join(f"| {name} | {row['plddt']} | {row['pae']} |" for name, row in rows.items())
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return f"""# Fused kernels in the whole network, interpreted on a CPU

REHEARSAL: `python benchmarks/kernels_parity.py`: {len(SEQUENCE)} residues, random parameters of {BLOCKS}
Evoformer block, one model, no recycle. Pallas interprets the kernels, so this says what they compute, not how
fast. {versions}. {found["cpu_seconds"]} CPU seconds. Mean pLDDT {found["mean_plddt"]}.

| largest difference between | pLDDT of a residue, of 100 | PAE, Å |
|---|---|---|
{table}
"""


if __name__ == "__main__":
    raise SystemExit(main())
