"""Antibodies: our network in JAX against flash-abb's own in PyTorch, both in one run.

    python benchmarks/flashabb_parity.py [--reference PYTHON] [--record FILE]

Both sides predict the same 20 antibodies: those of resources/demo/antibodies.fasta and those of
benchmarks/antibodies.fasta (variable domains as in Jain et al. 2017, doi:10.1073/pnas.1616408114). flash-abb
needs PyTorch, and runs in an environment of its own: that of --reference, or one that is made for the run.
Each side is a process on one CPU core. CPU seconds are user plus system time, so that other work on the
machine disturbs them little. `--record` writes the numbers of flash-abb that a test compares with
(tests/engine/flashabb_reference.json).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np

# The side of flash-abb runs this file where snakefold is not installed: it is imported where it is used.

HERE = Path(__file__).resolve().parent
SETS = (HERE.parent / "resources" / "demo" / "antibodies.fasta", HERE / "antibodies.fasta")
RELEASE, TORCH = "flash-abb==0.0.5", "torch==2.13.0"
#: Å, and points of pLDDT (0 to 100), that the sides may differ by.
MOST_DISTANCE, MOST_PLDDT = 1e-3, 2e-4 * 100
RECORDED = ("trastuzumab", "EDE1-C10")
REPEATS = 3


def antibodies() -> dict[str, tuple[str, str]]:
    """Heavy and light chain by name; the light one of a nanobody is empty."""
    found = {}
    for path in SETS:
        for record in path.read_text().split(">")[1:]:
            name, chains = record.split()[0], "".join(record.splitlines()[1:]).split(":")
            if name == "ubiquitin":
                continue
            first, second = [*chains, ""][:2]
            found[name] = (second, first) if name == "rituximab" else (first, second)
    return found


def expected(logits: np.ndarray) -> np.ndarray:
    """pLDDT [L] of logits [L, bins]."""
    shares = np.exp(logits.astype(float) - logits.max(-1, keepdims=True))
    bins = (np.arange(logits.shape[-1]) + 0.5) * 100 / logits.shape[-1]
    return shares @ bins / shares.sum(-1)


# ---- what a side does, in a process of its own -------------------------------------------------------------
class FlashAbb:
    """flash-abb's own network."""

    def __init__(self) -> None:
        import torch
        from flash_abb import pretrained

        self._torch, self._network = torch, pretrained(device="cpu")
        self.versions = {"torch": torch.__version__}

    def __call__(self, heavy: str, light: str) -> tuple[np.ndarray, np.ndarray]:
        with self._torch.inference_mode():
            result = self._network([f"{heavy}|{light}"])
        return result.coords[0].numpy(), result.output["plddt"][0].numpy()


class Ours:
    """The engine's network."""

    def __init__(self, weights: str, cache: str) -> None:
        from importlib.metadata import version

        from snakefold.engines import compilation
        from snakefold.engines.flashabb import checkpoint, network
        from snakefold.engines.flashabb import weights as files

        compilation.prepare(Path(cache), network.flashabb_network.__name__)
        path = files.parameters_file(Path(weights))
        self._network = network.Network(checkpoint.read_tensors(files.read(path), str(path)))
        self.versions = {"jax": version("jax")}

    def __call__(self, heavy: str, light: str) -> tuple[np.ndarray, np.ndarray]:
        return self._network(heavy, light)


def side(predict: FlashAbb | Ours, asked: dict[str, tuple[str, str]], out: Path) -> None:
    """Predict all, once to compile or warm up, then timed; write arrays and CPU seconds per antibody."""
    arrays = {}
    for name, chains in asked.items():
        atoms, logits = predict(*chains)
        arrays |= {f"{name}/atoms": atoms, f"{name}/logits": logits}
    seconds, wall = {}, {}
    for name, chains in asked.items():
        cpu_start, start = time.process_time(), time.monotonic()
        for _ in range(REPEATS):
            predict(*chains)
        seconds[name] = (time.process_time() - cpu_start) / REPEATS
        wall[name] = (time.monotonic() - start) / REPEATS
    told = {"cpu_seconds": seconds, "wall_seconds": wall, "versions": predict.versions}
    np.savez(out, told=json.dumps(told), **arrays)


def run_side(words: list[str]) -> None:
    """This process is a side: `ours WEIGHTS CACHE` or `flashabb`, then the input and the output."""
    what, *given, source, out = words
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    asked = {name: (heavy, light) for name, (heavy, light) in json.loads(Path(source).read_text()).items()}
    side(Ours(*given) if what == "ours" else FlashAbb(), asked, Path(out))


# ---- both sides ------------------------------------------------------------------------------------------
def call(python: str, what: list[str], asked: dict[str, tuple[str, str]], folder: Path) -> dict[str, Any]:
    """Arrays of a side, with the CPU seconds and the peak memory of its process."""
    source, out = folder / "asked.json", folder / "found.npz"
    source.write_text(json.dumps(asked))
    environment = {key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS", "PYTHONPATH")}
    if what[0] == "ours" and "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    command = [python, __file__, "--side", *what, str(source), str(out)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    errors = process.stderr.read().decode() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{errors[-3000:]}")
    with np.load(out) as found:
        arrays = {name: found[name] for name in found.files}
    return {
        **json.loads(str(arrays.pop("told"))),
        "arrays": arrays,
        "process_cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def reference_python(folder: Path) -> str:
    """The interpreter of a new environment with flash-abb; PyTorch alone is 200 MB, with CUDA gigabytes."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", RELEASE, TORCH], check=True)
    return python


def measure(reference: str, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The result, and the arrays of flash-abb."""
    from snakefold.engines.flashabb import weights

    all_of_them = antibodies()
    first = dict(list(all_of_them.items())[:1])
    ours = ["ours", str(weights.locate("auto")), str(folder / "cache")]
    cold = {
        "ours, nothing compiled": call(sys.executable, ours, first, folder),
        "ours, program in the cache": call(sys.executable, ours, first, folder),
        "flash-abb": call(reference, ["flashabb"], first, folder),
    }
    found = call(sys.executable, [*ours[:2], str(folder / "other")], all_of_them, folder)
    theirs = call(reference, ["flashabb"], all_of_them, folder)
    programs = sorted(path.name.partition("-")[0] for path in (folder / "other").glob("*-cache"))
    rows = {}
    for name, (heavy, light) in all_of_them.items():
        one, other = (
            [each["arrays"][f"{name}/{what}"] for what in ("atoms", "logits")] for each in (found, theirs)
        )
        rows[name] = {
            "residues": len(heavy + light),
            "max_distance": float(np.linalg.norm(one[0] - other[0], axis=-1).max()),
            "max_ca_distance": float(np.linalg.norm(one[0][:, 1] - other[0][:, 1], axis=-1).max()),
            "max_plddt": float(np.abs(expected(one[1]) - expected(other[1])).max()),
            "mean_plddt": float(expected(other[1]).mean()),
        }
    fvs = [name for name, (_, light) in all_of_them.items() if light]
    result = {
        "antibodies": rows,
        "max_distance": max(row["max_distance"] for row in rows.values()),
        "max_plddt": max(row["max_plddt"] for row in rows.values()),
        "limits": {"distance": MOST_DISTANCE, "plddt": MOST_PLDDT},
        "programs": programs,
        "warm_fv_cpu_seconds": {
            who: float(np.mean([each["cpu_seconds"][name] for name in fvs]))
            for who, each in (("ours", found), ("flash-abb", theirs))
        },
        "warm_fv_wall_seconds": {
            who: float(np.mean([each["wall_seconds"][name] for name in fvs]))
            for who, each in (("ours", found), ("flash-abb", theirs))
        },
        "process_of_one_fv": {
            who: {
                # The first prediction and the timed ones: what is timed is taken off.
                "cpu_seconds": each["process_cpu_seconds"] - REPEATS * sum(each["cpu_seconds"].values()),
                "peak_mb": each["peak_mb"],
            }
            for who, each in cold.items()
        },
        "peak_mb_of_20": {"ours": found["peak_mb"], "flash-abb": theirs["peak_mb"]},
        "versions": {
            **found["versions"],
            **theirs["versions"],
            "flash-abb": RELEASE.rpartition("=")[2],
            "python": platform.python_version(),
        },
    }
    return result, theirs["arrays"]


def recorded(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Numbers of flash-abb for the tests: pLDDT, and distances of each residue's last atom to three CA."""
    chains, found = antibodies(), {}
    for name in RECORDED:
        atoms = arrays[f"{name}/atoms"]
        last = [int(np.flatnonzero(np.abs(row).sum(-1)).max()) for row in atoms]
        ends = atoms[np.arange(len(atoms)), last]
        anchors = [0, len(atoms) // 2, len(atoms) - 1]
        found[name] = {
            "heavy": chains[name][0],
            "light": chains[name][1],
            "anchors": anchors,
            "distances": np.linalg.norm(ends[:, None] - atoms[anchors, 1], axis=-1).round(3).tolist(),
            "plddt": expected(arrays[f"{name}/logits"]).round(2).tolist(),
        }
    return {"flash-abb": RELEASE.rpartition("=")[2], "antibodies": found}


def told(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    warm, wall = result["warm_fv_cpu_seconds"], result["warm_fv_wall_seconds"]
    process, peak, versions = result["process_of_one_fv"], result["peak_mb_of_20"], result["versions"]
    rows = "\n".join(
        f"| {name} | {row['residues']} | {row['max_distance']:.1e} | {row['max_ca_distance']:.1e} | "
        f"{row['max_plddt']:.1e} | {row['mean_plddt']:.1f} |"
        for name, row in result["antibodies"].items()
    )
    starts = "\n".join(
        f"| {who} | {each['cpu_seconds']:.1f} | {each['peak_mb']:.0f} |" for who, each in process.items()
    )
    return f"""# Antibodies: the network in JAX against flash-abb's own

`python benchmarks/flashabb_parity.py`: {len(result["antibodies"])} antibodies, float32, each side a
process on one CPU core. flash-abb {versions["flash-abb"]}, torch {versions["torch"]}; jax {versions["jax"]}.

| | ours | flash-abb |
|---|---|---|
| CPU seconds of an Fv, warm | {warm["ours"]:.3f} | {warm["flash-abb"]:.3f} |
| seconds of an Fv, warm | {wall["ours"]:.3f} | {wall["flash-abb"]:.3f} |
| peak memory of a process with all of them, MB | {peak["ours"]:.0f} | {peak["flash-abb"]:.0f} |
| compiled programs | {len(result["programs"])} | |

| largest difference | found | allowed |
|---|---|---|
| distance between the same atoms, Å | {result["max_distance"]:.1e} | {result["limits"]["distance"]:.0e} |
| pLDDT of a residue, of 100 | {result["max_plddt"]:.1e} | {result["limits"]["plddt"]:.0e} |

A process that starts, loads and predicts one Fv:

| | CPU seconds | peak, MB |
|---|---|---|
{starts}

| antibody | residues | largest distance, Å | of CA, Å | of pLDDT | mean pLDDT |
|---|---|---|---|---|---|
{rows}
"""


def main() -> None:
    """Measure, and write the result beside this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", help="interpreter of an environment with flash-abb 0.0.5 and PyTorch")
    parser.add_argument("--record", type=Path, help="write flash-abb's numbers for the tests")
    parser.add_argument("--out", type=Path, default=HERE / "flashabb_parity.json")
    parser.add_argument("--side", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options.side)
        return
    with tempfile.TemporaryDirectory() as folder:
        reference = options.reference or reference_python(Path(folder) / "flash-abb")
        result, arrays = measure(reference, Path(folder))
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(told(result))
    print(told(result))
    if options.record:
        options.record.write_text(json.dumps(recorded(arrays)) + "\n")
    if result["max_distance"] > MOST_DISTANCE or result["max_plddt"] > MOST_PLDDT:
        raise SystemExit("The sides differ by more than is allowed.")


if __name__ == "__main__":
    main()
