"""A newer alphafold-colabfold beside the pinned one: parity, CPU seconds and programs. REHEARSAL.

    pip install --no-deps --target /tmp/newer alphafold-colabfold==2.3.27 colabfold-kernels==0.9.0
    python benchmarks/upstream.py --upstream /tmp/newer

colabfold pins alphafold-colabfold, so the newer packages lie in a folder of their own, which is first on the
path of the processes that take them. Parameters are random, of two Evoformer blocks (`whole`: of all 48), in
float32, on the CPU: this says whether two releases compute the same, not what they predict. Every side of a
case is a process of its own, one after the other:

- pinned: what the engine alphafold2 runs;
- depth rounded: the same, with a complex's MSA padded to a rounded depth even where it is alone;
- one template: the same, with one empty template instead of the four that complexes without templates have;
- newer: the engine on the newer packages, with the loop of recycles that snakefold has;
- own recycling: with the loop of the newer RunModel, which keeps its state on the device as well;
- split_msa_sampling (complexes), length_buckets: the same, with this switch on.

A complex comes in requests of one target each, of equal length and of unequal depth. CPU seconds of all
threads are those of the network's function: `first` with tracing and compiling, `again` the same input once
more, the least of three. `programs` counts the network's, and the sampler's where it is one of its own. The
fused kernels are a case of their own: one block, one pass, bfloat16, interpreted, so this says what they
compute, not how fast; the yardstick is what bfloat16 without them differs from float32.

Coordinates are compared in 16 bits, as the pinned one gives them. The newer one keeps them in float32: what
that changes is measured on a known structure (PDB 4JSV, from PDBFixer's wheel). The result is written to
upstream.json and upstream.md beside this file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the tests' small targets, and their interpreter
PACKAGES = ("alphafold-colabfold", "colabfold", "colabfold-kernels", "jax")
RECYCLES, REPEATS = 2, 3
MONOMER = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVK"
PARTNER = "GSHMFVKSHFSRQLEEMKTAYIAKQWDNTP"
#: Chains, and rows of each chain's MSA, a request each.
CASES = {
    "monomer": ([MONOMER], [24]),
    "heterodimer": ([MONOMER[:34], PARTNER], [22, 24, 40]),
    "whole": ([MONOMER[:34], PARTNER], [22]),
    "fused": ([f"{MONOMER}AEDL"], [80]),
}
BLOCKS = {"monomer": 2, "heterodimer": 2, "whole": 48, "fused": 1}
#: Up to 16 rows of the clustered MSA the newer one adds up the outer product in another order: a case each.
CLUSTERS = {"monomer": 16, "heterodimer": 24, "whole": 24, "fused": 64}
EXTRA = {"monomer": 32, "heterodimer": 32, "whole": 32, "fused": 64}
STOCK = {"precision": "bfloat16", "kernels": "stock"}
FUSED = {"precision": "bfloat16", "kernels": "pallas"}
#: What a side does: the newer packages, their loop, switches, settings of the engine, only the first request.
SIDES: dict[str, dict[str, dict[str, Any]]] = {
    "monomer": {
        "pinned": {},
        "newer": {"newer": True},
        "newer, own recycling": {"newer": True, "own": True},
        "newer, length_buckets": {"newer": True, "own": True, "switch": "length_buckets"},
    },
    "heterodimer": {
        "pinned": {},
        "pinned, depth rounded": {"rounded": True},
        "newer": {"newer": True, "first": True},
        "newer, own recycling": {"newer": True, "own": True},
        "newer, split_msa_sampling": {"newer": True, "own": True, "switch": "split_msa_sampling"},
        "newer, length_buckets": {"newer": True, "own": True, "switch": "length_buckets", "first": True},
    },
    "whole": {"pinned": {}, "pinned, one template": {"slots": 1}, "newer": {"newer": True}},
    "fused": {
        "pinned, float32": {},
        "pinned, bfloat16": {"settings": STOCK},
        "pinned, fused": {"settings": FUSED},
        "newer, bfloat16": {"newer": True, "settings": STOCK},
        "newer, fused": {"newer": True, "settings": FUSED},
    },
}
SCORES = {"plddt": "plddt", "pae": "predicted_aligned_error", "ptm": "ptm", "iptm": "iptm"}
Arrays = dict[str, NDArray[Any]]


def main() -> None:
    """Measure all sides of all cases and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upstream", type=Path, required=True, help="folder with the newer packages")
    parser.add_argument("--only", choices=CASES, nargs="+", default=list(CASES), help="cases (default: all)")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(*options.side, options.folder)))
        return
    if not (options.upstream / "alphafold").is_dir():
        parser.error(f"--upstream {options.upstream}: has no package alphafold; --help says what makes it")
    result: dict[str, Any] = {
        "rehearsal": True,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": f"CPU, {os.cpu_count()} cores that others used too",
        "versions": {},
        "cases": {} if set(options.only) == set(CASES) else known_cases(),
        "rounding": rounding(),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in options.only:
            found = {side: run(case, side, options.upstream.absolute(), folder) for side in SIDES[case]}
            for side, told in found.items():
                label = "newer" if SIDES[case][side].get("newer") else "pinned"
                result["versions"][label] = told.pop("versions")
                told["differences"] = differences(folder, case, side)
            if case == "fused":
                other = differences(folder, case, "newer, fused", "newer, bfloat16")
                found["newer, fused"]["differences_to_newer_bfloat16"] = other
                other = differences(folder, case, "pinned, fused", "pinned, bfloat16")
                found["pinned, fused"]["differences_to_pinned_bfloat16"] = other
            result["cases"][case] = found
    (HERE / "upstream.json").write_text(json.dumps(result, indent=1) + "\n")
    (HERE / "upstream.md").write_text(report(result))
    sys.stdout.write(report(result))


def known_cases() -> dict[str, Any]:
    """Cases that were measured before, for a run of some only."""
    path = HERE / "upstream.json"
    return json.loads(path.read_text())["cases"] if path.exists() else {}


def run(case: str, side: str, upstream: Path, folder: Path) -> dict[str, Any]:
    """One side of a case, in a process of its own."""
    environment = dict(os.environ)
    if SIDES[case][side].get("newer"):
        path = [str(upstream), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(path)
    command = [sys.executable, __file__, "--upstream", str(upstream), "--side", case, side]
    done = subprocess.run(
        [*command, "--folder", str(folder)], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    sys.stderr.write(f"{case}, {side}: {told}\n")
    return told


def measure(case: str, side: str, folder: Path) -> dict[str, Any]:
    """Predict a case's requests; what the network gave is written to `folder`."""
    from tests.engine.toys import chain_msas, make_request, make_target

    from snakefold.engines.alphafold2 import ENGINE, recycling, rehearsal, session

    asked = SIDES[case][side]
    loop: Callable[..., Any] = recycling.predict
    if asked.get("own"):
        loop = own_loop
    spent: list[float] = []
    kept: list[Arrays] = []
    depths: list[int] = []

    def watched(network: Any, inputs: Any, **named: Any) -> Any:
        inputs = with_slots(inputs, asked.get("slots"))
        start = time.process_time()
        found, recycles = loop(network, inputs, **named)
        spent.append(time.process_time() - start)
        kept.append(arrays(found))
        depths.append(inputs["msa"].shape[0] if network.multimer_mode else inputs["msa_feat"].shape[1])
        return recycling.on_host(found), recycles

    compiled = watch_compiler()
    recycling.predict = watched
    session.configuration = partial(configured, asked.get("switch", ""))
    if asked.get("rounded"):
        session.choose = rounded_depth
    if asked.get("settings") == FUSED:
        interpret()
    chains, rows = CASES[case]
    name = "model_1_multimer_v3" if len(chains) > 1 else "model_3_ptm"
    blocks = BLOCKS[case]
    recycles = 0 if case == "fused" else RECYCLES
    rehearsal.draw(folder / str(blocks), [name], blocks)
    told: dict[str, Any] = {"depths": [], "first": [], "again": 0.0}
    for number, each in enumerate(rows[:1] if asked.get("first") else rows):
        target = make_target("t", *chains)
        msas = chain_msas(target, each)
        request = make_request(
            [target],
            models=[1 if len(chains) > 1 else 3],
            num_recycle=recycles,
            recycle_early_stop_tolerance=0,
            max_msa_clusters=CLUSTERS[case],
            max_extra_msa=EXTRA[case],
            **asked.get("settings", {}),
        )
        started = ENGINE.start(request, {target.result_key: msas}, folder / str(blocks), None)
        for _ in range(1 if number or case == "fused" else 1 + REPEATS):
            started.predict(target, msas)
        told["first"].append(round(spent[0], 1))
        if not number:
            told["again"] = round(min(spent[1:], default=0.0), 2)
        told["depths"].append(depths[0])
        np.savez(folder / f"{case}, {side}, {number}.npz", **kept[0])
        spent.clear(), kept.clear(), depths.clear()
    # haiku's function, and what the newer RunModel wraps it in.
    told["programs"] = sum(name in ("jit(apply_fn)", "jit(<lambda>)") for name in compiled)
    told["samplers"] = compiled.count("jit(sample)")
    told["versions"] = {package: found for package in PACKAGES if (found := installed(package))}
    return told


def configured(switch: str, *args: Any, **named: Any) -> Any:
    """The engine's configuration, with a switch of the newer packages on."""
    from snakefold.engines.alphafold2 import models

    config = models.configuration(*args, **named)
    if switch == "split_msa_sampling":
        config.model.split_msa_sampling = True
    elif switch == "length_buckets":
        config.model.global_config.length_buckets = True
    return config


def with_slots(inputs: Any, slots: int | None) -> Any:
    """Inputs with so many templates; None: as they are."""
    cut = {name: inputs[name][:slots] for name in inputs if name.startswith("template_")}
    return {**inputs, **cut}


def watch_compiler() -> list[str]:
    """Names of the programs that XLA compiles from now on, if one takes half a second."""
    import jax

    names: list[str] = []

    def on_duration(event: str, seconds: float, **details: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration" and seconds > 0.5:
            names.append(str(details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(on_duration)
    return names


def own_loop(network: Any, inputs: Any, **named: Any) -> Any:
    """The loop of recycles of RunModel."""
    return network.predict(inputs, **named)


def rounded_depth(settings: Any, preset: Any, depths: Any) -> Any:
    """The shape of a batch, with the depth of a lone complex rounded up."""
    from dataclasses import replace

    from snakefold.engines.alphafold2 import shapes

    depths = list(depths)
    shape = shapes.choose(settings, preset, depths)
    return replace(shape, depth=max(shape.depth, shapes.rounded_up(max(depths)))) if shape.depth else shape


def interpret() -> None:
    """Let JAX compute Pallas kernels, an operation after the other, and the engine believe that they run."""
    import jax.numpy as jnp
    from jax.experimental import pallas
    from jax.experimental.pallas import triton

    from snakefold.engines.alphafold2 import kernels

    compiled = pallas.pallas_call

    def interpreted(*args: Any, **named: Any) -> Any:
        return compiled(*args, **{**named, "interpret": True})

    def exponential(code: str, *, args: Any, **_: Any) -> list[Any]:
        """The only instruction of a GPU that the newer kernels name themselves: 2^x, or 2^(x - y)."""
        if "ex2.approx" not in code:
            raise NotImplementedError(f"no such instruction without a GPU: {code}")
        return [jnp.exp2(args[0] - args[1] if len(args) > 1 else args[0])]

    product = jnp.dot

    def wide(one: Any, two: Any, **named: Any) -> Any:
        """A product added up in 32 bits, which XLA has not for operands of 16 on a CPU: the same numbers."""
        if named.get("preferred_element_type") == jnp.float32:
            one, two = one.astype(jnp.float32), two.astype(jnp.float32)
        return product(one, two, **named)

    jnp.dot = wide
    pallas.pallas_call = interpreted
    triton.elementwise_inline_asm = exponential
    triton.approx_tanh = jnp.tanh
    kernels.running = lambda settings: kernels.Running(settings.kernels)


def arrays(found: Any) -> Arrays:
    """Coordinates and scores of a result, as the loop gives them."""
    scores = {short: np.asarray(found[name]) for short, name in SCORES.items() if name in found}
    structure = found["structure_module"]
    there = np.asarray(structure["final_atom_mask"]) >= 0.5
    return {**scores, "atoms": np.asarray(structure["final_atom_positions"])[there]}


def installed(package: str) -> str:
    """Its version in this process; empty if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def differences(folder: Path, case: str, side: str, other: str = "") -> dict[str, float]:
    """The largest to another side, by default the case's first, over all requests that both have."""
    other = other or next(iter(SIDES[case]))
    largest: dict[str, float] = {}
    for number in range(len(CASES[case][1])):
        paths = [folder / f"{case}, {each}, {number}.npz" for each in (side, other)]
        if not all(path.exists() for path in paths):
            continue
        with np.load(paths[0]) as ours, np.load(paths[1]) as theirs:
            for name in theirs.files:
                halves = [each[name].astype(np.float16) for each in (ours, theirs)]
                off = np.abs(np.subtract(*(each.astype(float) for each in halves)))
                largest[name] = max(largest.get(name, 0.0), float(off.max()))
                if name == "atoms":
                    rms = float(np.sqrt((off**2).mean()))
                    largest["atoms_rms"] = max(largest.get("atoms_rms", 0.0), rms)
    return {name: float(f"{value:.3g}") for name, value in largest.items()}


def rounding() -> dict[str, Any]:
    """What coordinates in 16 bits do to the bonds of a known structure, its centre moved to the origin."""
    from alphafold.common import protein

    known = protein.from_pdb_string(files("pdbfixer").joinpath("tests/data/4JSV.pdb").read_text())
    found = {}
    for name, chains in {"one chain": [2], "all chains": sorted(set(known.chain_index.tolist()))}.items():
        kept = np.isin(known.chain_index, chains)
        exact = known.atom_positions[kept] - known.atom_positions[kept][known.atom_mask[kept] > 0].mean(
            axis=0
        )
        there, halved = known.atom_mask[kept] > 0, exact.astype(np.float16).astype(float)
        both = there[:, 0] & there[:, 1]  # N and CA
        bonds = [np.linalg.norm(each[both, 0] - each[both, 1], axis=-1) for each in (exact, halved)]
        off = np.abs(np.subtract(*bonds))
        found[name] = {
            "residues": int(kept.sum()),
            "furthest_atom": round(float(np.abs(exact[there]).max()), 1),
            "atom_moved": round(float(np.linalg.norm((exact - halved)[there], axis=-1).max()), 3),
            "bond_rms": round(float(np.sqrt((off**2).mean())), 4),
            "bond_most": round(float(off.max()), 3),
        }
    return found


def report(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    sides = "; ".join(
        f"{side}: {', '.join(f'{name} {number}' for name, number in found.items())}"
        for side, found in result["versions"].items()
    )
    text = f"""# A newer alphafold-colabfold beside the pinned one

REHEARSAL: `python benchmarks/upstream.py --upstream FOLDER`: random parameters, float32,
{RECYCLES} recycles. {result["device"]}, {result["date"]}.
{sides}.

`first`: CPU seconds of the network's first prediction of each request, with compiling; `again`: of the same
input once more. Programs: of the network, + of the sampler. Differences are the largest to `pinned`:
coordinates and PAE in Å, pLDDT of 100. Outputs are rounded to 16 bits, and so is the state between
recycles. A last place is 0.13 Å from 128 Å on, and random parameters put atoms that far from the origin. What
another order of adding up makes of that is in the row `depth rounded`: the pinned network, more masked rows.
"""
    for case, found in result["cases"].items():
        if case == "fused":
            continue
        chains, _ = CASES[case]
        residues = "+".join(str(len(chain)) for chain in chains)
        text += f"""
## {"Monomer" if len(chains) == 1 else "Heterodimer"}, {residues} residues, {BLOCKS[case]} Evoformer blocks

| side | MSA rows | first | again | programs | coordinates (RMS; most) | pLDDT | PAE | pTM | ipTM |
|---|---|---|---|---|---|---|---|---|---|
"""
        for side, told in found.items():
            off = told["differences"]
            samplers = f" + {told['samplers']}" if told["samplers"] else ""
            cells = [
                side,
                ", ".join(map(str, told["depths"])),
                ", ".join(map(str, told["first"])),
                f"{told['again']}",
                f"{told['programs']}{samplers}",
                f"{off['atoms_rms']:g}; {off['atoms']:g}",
                *(f"{off[name]:g}" if name in off else "" for name in SCORES),
            ]
            text += f"| {' | '.join(cells)} |\n"
    if fused := result["cases"].get("fused"):
        text += f"""
## Fused kernels, interpreted: {len(CASES["fused"][0][0])} residues, one block, no recycle

| largest difference between | pLDDT | PAE | CPU seconds of the first |
|---|---|---|---|
"""
        rows = {
            "bfloat16 and float32, pinned": ("pinned, bfloat16", "differences"),
            "fused and not, bfloat16, pinned": ("pinned, fused", "differences_to_pinned_bfloat16"),
            "bfloat16, newer, and float32, pinned": ("newer, bfloat16", "differences"),
            "fused and not, bfloat16, newer": ("newer, fused", "differences_to_newer_bfloat16"),
            "fused, newer, and float32, pinned": ("newer, fused", "differences"),
        }
        for label, (side, which) in rows.items():
            off = fused[side][which]
            text += f"| {label} | {off['plddt']:g} | {off['pae']:g} | {fused[side]['first'][0]} |\n"
    text += """
## Coordinates in 16 bits, as the pinned one gives them: PDB 4JSV, centred

| | residues | largest coordinate, Å | an atom moves at most, Å | N-CA bonds change by, Å (RMS, most) |
|---|---|---|---|---|
"""
    for name, off in result["rounding"].items():
        bonds = f"{off['bond_rms']}, {off['bond_most']}"
        text += f"| {name} | {off['residues']} | {off['furthest_atom']} | {off['atom_moved']} | {bonds} |\n"
    return text


if __name__ == "__main__":
    main()
