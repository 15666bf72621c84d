"""OpenFold's own code in PyTorch against AlphaFold2's with converted parameters, both in one run.

    python benchmarks/openfold_parity.py --openfold FOLDER --torch PYTHON [--record FILE]

FOLDER is a checkout of OpenFold (https://github.com/aqlaboratory/openfold), PYTHON an interpreter with
PyTorch, SciPy, Biopython and dm-tree, such as that of `snakefold engines install boltz2`.

Random parameters in AlphaFold2's format are read by OpenFold's own importer, saved as a checkpoint in the
names of its releases 1 and 2, and converted back: every array must be the same, bit for bit. Then both
sides predict with the same features.

In float64 both must be the same function: no difference above 1e-12 of the largest value. One constant of
theirs differs, and is made equal for this: OpenFold adds 1e-8 to a count of MSA rows, AlphaFold2 1e-10. The
difference with the constants as they are is reported beside it.

In float32 both round, and the error of one number of one prediction is chance. So both sides predict several
targets. With each set of parameters the difference between the sides may be at most twice that of OpenFold's
own 32 bits from its 64: root mean squares over all targets.

`--record` writes digests of the tensors for the tests (tests/engine/openfold_reference.json, with
--blocks 1).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

# The side of OpenFold runs this file where snakefold is not installed: it is imported where it is used.

HERE = Path(__file__).resolve().parent
SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ"
ROWS, CLUSTERS, EXTRA, RECYCLES = 48, 16, 32, 1
#: Name of the parameters, whether templates are given, and OpenFold's preset.
CASES = (
    ("finetuning_ptm_2", False, "model_1_ptm"),
    ("finetuning_ptm_2", True, "model_1_ptm"),
    ("finetuning_5", False, "model_1"),
    ("finetuning_no_templ_ptm_1", False, "model_3_ptm"),
    ("finetuning_no_templ_2", False, "model_3"),
)
#: What is compared, and its unit.
COMPARED = {"positions": "Å", "plddt": "of 100", "pae": "Å", "ptm": ""}
FACTOR = 2.0
#: Largest difference in float64, as a share of the largest value.
EXACT = 1e-12
#: `eps` of alphafold.model.utils.mask_mean, and OpenFold's.
MEAN_EPS, OPENFOLD_MEAN_EPS = 1e-10, 1e-8


def targets(count: int) -> list[str]:
    """The sequence, and others of its residues in other orders."""
    return [SEQUENCE] + [
        "".join(random.Random(number).sample(SEQUENCE, len(SEQUENCE))) for number in range(1, count)
    ]


def make_a3m(sequence: str) -> str:
    """The sequence, and copies of it with 30 % of the residues changed or missing."""
    source = random.Random(sequence)
    rows = [sequence]
    for _ in range(ROWS - 1):
        changed = (c if source.random() < 0.7 else source.choice("ACDEFGHIKLMNPQRSTVWY-") for c in sequence)
        rows.append("".join(changed))
    return "".join(f">row{number}\n{row}\n" for number, row in enumerate(rows))


def digest(array: np.ndarray) -> str:
    """Of shape and numbers of a tensor."""
    text = f"{list(array.shape)} ".encode() + np.ascontiguousarray(array, "<f4").tobytes()
    return hashlib.sha256(text).hexdigest()[:12]


# ---- OpenFold's side, in a process of its own ------------------------------------------------------------
def stand_in(name: str, **members: Any) -> None:
    """A module that OpenFold imports and a prediction on a CPU does not need."""
    import importlib.machinery
    from unittest.mock import MagicMock

    module = MagicMock(name=name, __path__=[], __spec__=importlib.machinery.ModuleSpec(name, None), **members)
    sys.modules[name] = module


def older(name: str) -> str:
    """A tensor's name in OpenFold's release 1."""
    name = re.sub(r"^template_embedder\.", "", name)
    name = name.replace("template_single_embedder", "template_angle_embedder")
    name = re.sub(r"(linear_k?v?q?_points)\.linear\.", r"\1.", name)
    name = re.sub(r"(\.blocks\.\d+\.)pair_stack\.", r"\1core.", name)
    return re.sub(r"(\.blocks\.\d+\.)(?=msa_transition\.|outer_product_mean\.)", r"\1core.", name)


def openfold_side(checkout: str, packages: str, folder: Path, count: int) -> None:
    """Import, save, and predict `count` targets of all cases in `folder`."""
    sys.path.insert(0, checkout)
    sys.path.append(packages)  # ml_collections, which OpenFold's configuration is made of
    import torch

    def softmax_in_place(values: torch.Tensor, *_: int) -> None:
        values.copy_(torch.softmax(values.clone(), -1))

    stand_in("attn_core_inplace_cuda", forward_=softmax_in_place)
    for name in ("", ".model", ".dumper", ".reference", ".protocol", ".alignment", ".qa_metric"):
        stand_in(f"modelcif{name}")
    from openfold.config import model_config
    from openfold.model.model import AlphaFold
    from openfold.model.primitives import GlobalAttention
    from openfold.utils.import_weights import import_jax_weights_
    from openfold.utils.kernel import attention_core

    attention_core.SUPPORTED_DTYPES.append(torch.float64)
    torch.set_num_threads(1)
    digests = {}
    for case, (name, templates, preset) in enumerate(CASES):
        with np.load(folder / f"{name}.npz") as arrays:
            blocks = arrays[
                "alphafold/alphafold_iteration/evoformer/evoformer_iteration/outer_product_mean//output_b"
            ].shape[0]
        config = model_config(preset)
        config.model.evoformer_stack.no_blocks = blocks
        config.globals.chunk_size = None
        network = AlphaFold(config).eval()
        import_jax_weights_(network, str(folder / f"{name}.npz"), version=preset)
        state = network.state_dict()
        torch.save(state, folder / f"{name}.pt")
        torch.save(
            {
                "ema": {
                    "params": {f"model.{older(key)}": value for key, value in state.items()},
                    "decay": 0.999,
                }
            },
            folder / f"{name}-older.pt",
        )
        digests[name] = {key: digest(value.numpy()) for key, value in state.items()}
        network.config.template.enabled = network.template_config.enabled = templates
        means = [module for module in network.modules() if isinstance(module, GlobalAttention)]
        own = {module.eps for module in means}
        if own != {OPENFOLD_MEAN_EPS}:
            raise SystemExit(f"OpenFold's eps of global attention: {own}, expected {OPENFOLD_MEAN_EPS}")
        for bits, eps, suffix in (
            (32, OPENFOLD_MEAN_EPS, "32"),
            (64, OPENFOLD_MEAN_EPS, "64"),
            (64, MEAN_EPS, "64-equal"),
        ):
            for module in means:
                module.eps = eps
            for target in range(count):
                features = folder / f"{case}-{target}-features.npz"
                found = predict(network, features, bits, templates=templates)
                np.savez(folder / f"{case}-{target}-openfold-{suffix}.npz", **found)
    (folder / "openfold.json").write_text(json.dumps({"torch": torch.__version__, "digests": digests}))


def predict(network: Any, features: Path, bits: int, *, templates: bool) -> dict[str, np.ndarray]:
    """OpenFold's prediction with AlphaFold2's features, in arithmetic of 32 or 64 bits."""
    import torch
    from openfold.data import data_transforms
    from openfold.utils import rigid_utils

    kind = {32: torch.float32, 64: torch.float64}[bits]

    class Torch:
        """Rotations are made float32 by name, which would leave a part of 64 bits to 32."""

        float32 = kind

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

    batch = {}
    with np.load(features) as arrays:
        for name in arrays.files:
            value = torch.as_tensor(arrays[name])
            if value.ndim and name != "asym_id":  # recycles come last; asym_id would make it a complex
                batch[name] = value.movedim(0, -1).to(kind if value.is_floating_point() else torch.int64)
    network = network.to(kind)
    default, single, rigid_utils.torch = torch.get_default_dtype(), torch.Tensor.float, Torch()
    torch.set_default_dtype(kind)
    torch.Tensor.float = {32: single, 64: torch.Tensor.double}[bits]
    try:
        if templates:
            batch["template_all_atom_mask"] = batch.pop("template_all_atom_masks")
            passes = []
            for step in range(batch["aatype"].shape[-1]):
                one = {key: value[..., step] for key, value in batch.items()}
                passes.append(data_transforms.atom37_to_torsion_angles("template_")(one))
            batch = {key: torch.stack([each[key] for each in passes], -1) for key in passes[0]}
        else:
            batch = {key: value for key, value in batch.items() if not key.startswith("template_")}
        with torch.no_grad():
            result = network(batch)
    finally:
        torch.set_default_dtype(default)
        torch.Tensor.float, rigid_utils.torch = single, torch
    found = {"positions": result["final_atom_positions"], "plddt": result["plddt"]}
    if "predicted_aligned_error" in result:
        found |= {"pae": result["predicted_aligned_error"], "ptm": result["ptm_score"]}
    return {key: value.double().numpy() for key, value in found.items()}


# ---- AlphaFold2's side -----------------------------------------------------------------------------------
def make_templates(sequence: str) -> bytes:
    """Two templates with AlphaFold's feature names: the sequence itself, its atoms anywhere.

    Both programs give the network an angle between the first residue and the one before it, which is not
    there: of three points in a line, so that it is made of rounding errors. One nitrogen is put where these
    are exactly zero, or two arithmetics would be two inputs.
    """
    import io

    from alphafold.common import residue_constants

    one_hot = residue_constants.sequence_to_onehot(sequence, residue_constants.HHBLITS_AA_TO_ID)
    length, stream = len(sequence), io.BytesIO()
    positions = np.random.default_rng(2).normal(size=(2, length, 37, 3)) * 10
    positions[:, 0, 0] = (2**14, 0, 0)
    np.savez(
        stream,
        template_aatype=np.stack([one_hot] * 2),
        template_all_atom_positions=positions.astype(np.float32),
        template_all_atom_masks=np.ones((2, length, 37), np.float32),
        template_domain_names=np.array([b"1abc_A", b"2abc_A"]),
        template_sequence=np.array([sequence.encode()] * 2),
        template_sum_probs=np.array([[100.0], [90.0]], np.float32),
    )
    return stream.getvalue()


def passes(runner: Any, inputs: dict[str, Any], kind: type = np.float32) -> dict[str, Any]:
    """The network, pass by pass, in one arithmetic throughout.

    ColabFold's own loop keeps results, and what goes into the next pass, in float16: 0.016 of a pLDDT of 50.
    """
    import jax

    length = inputs["aatype"].shape[1]
    shapes = {"prev_msa_first_row": (256,), "prev_pair": (length, 128), "prev_pos": (37, 3)}
    prev = {name: np.zeros((length, *rest), kind) for name, rest in shapes.items()}
    result: dict[str, Any] = {}
    for step in range(RECYCLES + 1):
        batch = {name: value[step : step + 1] for name, value in inputs.items()}
        result = runner.apply(runner.params, jax.random.PRNGKey(0), {**batch, "prev": prev})
        prev = result.pop("prev")
    found = {"positions": result["structure_module"]["final_atom_positions"], "plddt": result["plddt"]}
    if "ptm" in result:
        found |= {"pae": result["predicted_aligned_error"], "ptm": result["ptm"]}
    found = {name: np.asarray(value) for name, value in found.items()}
    kinds = {name: str(value.dtype) for name, value in found.items()}
    if set(kinds.values()) != {np.dtype(kind).name}:
        raise SystemExit(f"Expected results in {np.dtype(kind)}, found {kinds}")
    return found


def runner_of(case: int, folder: Path, blocks: int) -> tuple[Any, Any, Any]:
    """AlphaFold2's network with the parameters of a case; its settings and its shape of the MSA."""
    from snakefold.engines.alphafold2.models import configuration
    from snakefold.engines.alphafold2.parameters import load_file
    from snakefold.engines.alphafold2.runner import new_runner
    from snakefold.engines.alphafold2.shapes import MsaShape
    from snakefold.engines.openfold.kinds import kind_of_name
    from snakefold.engines.openfold.settings import OpenFoldSettings

    name, templates, _ = CASES[case]
    shape = MsaShape(CLUSTERS, EXTRA)
    settings = OpenFoldSettings(num_recycle=RECYCLES, use_templates=templates, precision="float32")
    runner = new_runner(
        configuration(
            kind_of_name(name).preset, templates=templates, settings=settings, shape=shape, blocks=blocks
        )
    )
    runner.params = load_file(folder / f"{name}.npz", drop_templates=not templates, advice="")
    return runner, settings, shape


def alphafold_side(folder: Path, blocks: int, count: int) -> None:
    """Draw parameters, make features, and predict all cases in `folder` in float32."""
    from snakefold.engines.alphafold2 import rehearsal
    from snakefold.engines.alphafold2.features import raw_features
    from snakefold.engines.alphafold2.runner import network_inputs
    from snakefold.engines.openfold.kinds import kind_of_name
    from snakefold.engines.spec import ChainMsa, TargetMsas
    from snakefold.kernel.contracts import TargetInput
    from snakefold.kernel.recipes import sequence_key

    for case, (name, templates, _) in enumerate(CASES):
        kind = kind_of_name(name)
        rehearsal.draw_file(folder / f"{name}.npz", name, kind.layout, blocks)
        runner, settings, shape = runner_of(case, folder, blocks)
        for number, sequence in enumerate(targets(count)):
            target = TargetInput(id="t", key=sequence_key([sequence]), chains=[sequence])
            msas = TargetMsas([ChainMsa(make_a3m(sequence), templates=make_templates(sequence))])
            raw = raw_features(target, msas, kind.preset, settings, shape)
            inputs = network_inputs(runner, raw, kind.preset, seed=0, templates=templates)
            inputs = {key: np.asarray(value) for key, value in inputs.items()}
            np.savez(folder / f"{case}-{number}-features.npz", **inputs)
            np.savez(folder / f"{case}-{number}-alphafold-32.npz", **passes(runner, inputs))


def alphafold_exact(folder: Path, blocks: int, count: int) -> None:
    """Predict the same in float64: in a process of its own, with JAX_ENABLE_X64."""
    import importlib

    import jax
    import jax.numpy as jnp

    class Numpy:
        """Some values are made float32 by name, which would leave a part of 64 bits to 32."""

        float32 = jnp.float64

        def __getattr__(self, name: str) -> Any:
            return getattr(jnp, name)

    def wide(value: Any) -> Any:
        value = np.asarray(value)
        return value.astype(np.float64) if value.dtype == np.float32 else value

    for name in ("all_atom", "common_modules", "folding", "half_precision", "modules", "utils"):
        importlib.import_module(f"alphafold.model.{name}").jnp = Numpy()  # type: ignore[attr-defined]
    for case in range(len(CASES)):
        runner, *_ = runner_of(case, folder, blocks)
        runner.params = jax.tree_util.tree_map(wide, runner.params)
        for target in range(count):
            with np.load(folder / f"{case}-{target}-features.npz") as arrays:
                inputs = {key: wide(arrays[key]) for key in arrays.files}
            found = passes(runner, inputs, np.float64)
            np.savez(folder / f"{case}-{target}-alphafold-64.npz", **found)


# ---- both sides ------------------------------------------------------------------------------------------
def converted(folder: Path, blocks: int) -> dict[str, dict[str, int]]:
    """Arrays of each file, and how many of them come back the same from a checkpoint of either release."""
    from snakefold.engines.alphafold2.parameters import rehearsal_mark
    from snakefold.engines.openfold import convert

    found = {}
    for name in dict.fromkeys(name for name, _, _ in CASES):
        with np.load(folder / f"{name}.npz") as arrays:
            given = {key: arrays[key] for key in arrays.files}
        found[name] = {"arrays": len(given)}
        for release, path in (("2", folder / f"{name}.pt"), ("1", folder / f"{name}-older.pt")):
            with zipfile.ZipFile(path, "a") as archive:  # few blocks are taken of random parameters only
                archive.comment = rehearsal_mark({"blocks": blocks})
            back = dict(convert.read(path).arrays())
            found[name][f"equal from release {release}"] = sum(
                back[key].dtype == given[key].dtype and np.array_equal(back[key], given[key]) for key in given
            ) * (set(back) == set(given))
    return found


def compared(folder: Path, count: int) -> list[dict[str, Any]]:
    """Differences of each case: in 64 bits the largest, in 32 bits root mean squares and the largest."""

    def load(case: int, side: str, what: str) -> np.ndarray:
        found = []
        for target in range(count):
            with np.load(folder / f"{case}-{target}-{side}.npz") as arrays:
                found.append(np.squeeze(arrays[what]).astype(float))
        return np.stack(found)

    def rms(values: np.ndarray) -> float:
        return float(np.sqrt(np.mean(np.square(values))))

    def most(values: np.ndarray) -> float:
        return float(np.abs(values).max())

    rows = []
    for case, (name, templates, _) in enumerate(CASES):
        for what in COMPARED:
            if what in ("pae", "ptm") and "ptm" not in name:
                continue
            ours, our_exact = (load(case, f"alphafold-{bits}", what) for bits in ("32", "64"))
            theirs, exact, equal = (load(case, f"openfold-{bits}", what) for bits in ("32", "64", "64-equal"))
            rows.append(
                {
                    "parameters": name,
                    "templates": templates,
                    "what": what,
                    "scale": most(exact),
                    "64 bits, equal constants": most(our_exact - equal),
                    "64 bits": most(our_exact - exact),
                    "sides": rms(ours - theirs),
                    "openfold": rms(theirs - exact),
                    "ours": rms(ours - our_exact),
                    "largest": {
                        "sides": most(ours - theirs),
                        "openfold": most(theirs - exact),
                        "ours": most(ours - our_exact),
                    },
                }
            )
    return rows


def largest(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """What is found at most, and what is allowed: in 64 bits a share, in 32 bits a ratio."""
    return {
        "64 bits, equal constants, share of the largest value": [
            max(row["64 bits, equal constants"] / row["scale"] for row in rows),
            EXACT,
        ],
        "32 bits, between the sides / OpenFold 32 to 64": [
            max(row["sides"] / row["openfold"] for row in rows),
            FACTOR,
        ],
    }


def recorded(digests: dict[str, dict[str, str]], options: argparse.Namespace) -> dict[str, Any]:
    """Of the first file all tensors; of the others how many there are, and one digest of all."""
    first, *others = digests
    together = {
        name: [
            len(digests[name]),
            hashlib.sha256(json.dumps(digests[name], sort_keys=True).encode()).hexdigest(),
        ]
        for name in others
    }
    return {
        "openfold": options.release,
        "blocks": options.blocks,
        first: dict(sorted(digests[first].items())),
        **together,
    }


def told(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    arrays = "\n".join(
        f"| {name} | {each['arrays']} | {each['equal from release 2']} | {each['equal from release 1']} |"
        for name, each in result["converted"].items()
    )
    rows = {
        bits: "\n".join(
            f"| {row['parameters']}{', templates' if row['templates'] else ''} | {row['what']} "
            f"{COMPARED[row['what']]} | {line(row)} |"
            for row in result["differences"]
        )
        for bits, line in (("64", _line_64), ("32", _line_32))
    }
    extreme = max(row["largest"]["sides"] / row["largest"]["openfold"] for row in result["differences"])
    limits = "\n".join(
        f"| {what} | {found:.2g} | {limit:.2g} |" for what, (found, limit) in result["largest"].items()
    )
    return f"""# OpenFold's own code against AlphaFold2's with converted parameters

`python benchmarks/openfold_parity.py`: {result["targets"]} targets of {len(SEQUENCE)} residues,
{CLUSTERS} + {EXTRA} rows, {RECYCLES} recycle, {result["blocks"]} Evoformer blocks of random parameters, CPU.
OpenFold {result["openfold"]}, torch {result["torch"]}, jax {result["jax"]}.
AlphaFold2's code keeps one arithmetic between passes here, as OpenFold's; ColabFold's loop keeps float16.

Arrays that are the same, bit for bit, after OpenFold's importer, a checkpoint and `weights convert`:

| parameters | arrays | names of release 2 | names of release 1, in `ema` |
|---|---|---|---|
{arrays}

| of all cases | found at most | allowed |
|---|---|---|
{limits}

## float64: one function
Largest difference between the sides. One constant differs: in the mean over MSA rows (global attention of
the extra MSA) OpenFold adds 1e-8 to the count of rows, AlphaFold2 1e-10. The last column has both at 1e-10.
In float32 a count of one or more absorbs either.

| parameters | what | largest value | between the sides | constants equal |
|---|---|---|---|---|
{rows["64"]}

## float32: rounding
Root mean squares over {result["targets"]} targets. Both sides round, each in its own order. `independent` is
what errors of these two sizes that do not depend on each other differ by: the root of the sum of their
squares. pTM is one number a target, so its figures are the least certain. In parentheses is the largest
difference, of one atom or number: between the sides it is up to {extreme:.1f} times OpenFold's largest.

| parameters | what | between the sides | OpenFold 32 to 64 | ours 32 to 64 | independent | sides / OpenFold |
|---|---|---|---|---|---|---|
{rows["32"]}
"""


def _line_64(row: dict[str, Any]) -> str:
    return f"{row['scale']:.3g} | {row['64 bits']:.1e} | {row['64 bits, equal constants']:.1e}"


def _line_32(row: dict[str, Any]) -> str:
    columns = [f"{row[side]:.1e} ({row['largest'][side]:.1e})" for side in ("sides", "openfold", "ours")]
    independent = float(np.hypot(row["openfold"], row["ours"]))
    return " | ".join([*columns, f"{independent:.1e}", f"{row['sides'] / row['openfold']:.2f}"])


def main() -> None:
    """Measure, and write the result beside this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--openfold", help="folder of a checkout of OpenFold")
    parser.add_argument("--release", default="unknown", help="its commit, for the record")
    parser.add_argument("--torch", help="interpreter of an environment with PyTorch")
    parser.add_argument("--blocks", type=int, default=2, help="Evoformer blocks")
    parser.add_argument("--record", type=Path, help="write digests of OpenFold's tensors for the tests")
    parser.add_argument("--out", type=Path, default=HERE / "openfold_parity.json")
    parser.add_argument("--targets", type=int, default=8, help="how many to predict")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--exact", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        openfold_side(options.side[0], options.side[1], Path(options.side[2]), options.targets)
        return
    if options.exact:
        alphafold_exact(options.exact, options.blocks, options.targets)
        return
    if not options.openfold or not options.torch:
        parser.error("--openfold and --torch are needed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alphafold_side(folder, options.blocks, options.targets)
        counts = ["--blocks", str(options.blocks), "--targets", str(options.targets)]
        command = [sys.executable, __file__, "--exact", name, *counts]
        subprocess.run(command, check=True, env={**os.environ, "JAX_ENABLE_X64": "1"})
        command = [options.torch, __file__, "--side", options.openfold, sysconfig.get_path("purelib"), name]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run([*command, *counts], check=True, env=environment)
        side = json.loads((folder / "openfold.json").read_text())
        from importlib.metadata import version

        result = {
            "blocks": options.blocks,
            "targets": options.targets,
            "openfold": options.release,
            "torch": side["torch"],
            "jax": version("jax"),
            "converted": converted(folder, options.blocks),
            "differences": compared(folder, options.targets),
        }
        result["largest"] = largest(result["differences"])
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(told(result))
    print(told(result))
    if options.record:
        options.record.write_text(json.dumps(recorded(side["digests"], options), indent=0) + "\n")
    lost = [name for name, each in result["converted"].items() if len(set(each.values())) > 1]
    over = [what for what, (found, limit) in result["largest"].items() if not found <= limit]
    if lost or over:
        raise SystemExit(f"Not the same: {lost or over}")


if __name__ == "__main__":
    main()
