"""Engine boltz2 in its environment, with random parameters: its results are those of Boltz's own command.

Needs the environment: snakefold engines install boltz2.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from snakefold.engines import environments
from snakefold.engines.boltz2 import ENGINE
from snakefold.kernel.contracts import Confidence
from snakefold.molecules.entities import Assembly
from snakefold.molecules.writers import boltz as writer
from snakefold.molecules.writers.common import Beside

pytestmark = pytest.mark.needs("boltz2")
HERE = Path(__file__).parent
SEED = 3
SETTINGS = {
    "accelerator": "cpu",
    "cpu_threads": 1,
    "recycling_steps": 1,
    "sampling_steps": 3,
    "diffusion_samples": 2,
    "sampling_steps_affinity": 3,
    "diffusion_samples_affinity": 1,
    "seed": SEED,
}
ARGUMENTS = [
    *("--accelerator", "cpu", "--recycling_steps", "1", "--sampling_steps", "3", "--diffusion_samples", "2"),
    *("--sampling_steps_affinity", "3", "--diffusion_samples_affinity", "1", "--num_workers", "0"),
    *("--preprocessing-threads", "1"),
]
PROTEIN, OTHER = "MKTAYIAKQRQISFVKSHFS", "GSHMWWACDE"
ETHANOL = {"kind": "ligand", "smiles": "CCO"}


def protein(sequence: str, **more: Any) -> dict[str, Any]:
    return {"kind": "protein", "sequence": sequence, **more}


def a3m(*rows: tuple[str, str]) -> str:
    return "".join(f">{name}\n{row}\n" for name, row in rows)


def of_human(number: int) -> str:
    return f"tr|A0A{number:06d}|A0A{number:06d}_HUMAN"


def target(
    name: str, *entities: dict[str, Any], msas: list[Any] | None = None, **more: Any
) -> dict[str, Any]:
    assembly = Assembly.model_validate({"entities": entities, **more})
    content = assembly.model_dump(mode="json")
    return {
        "target": {"id": name, "key": assembly.key, "chains": [], "assembly": content},
        "msas": msas or [],
    }


ALIGNED = [
    {
        "a3m": a3m(("q", PROTEIN), ("x", f"M-{PROTEIN[2:]}")),
        "pairing": a3m(("q", PROTEIN), (of_human(1), f"-{PROTEIN[1:]}")),
    },
    {"a3m": a3m(("q", OTHER)), "pairing": a3m(("q", OTHER), (of_human(2), f"A{OTHER[1:]}"))},
]
TARGETS = [
    target("alone", protein(PROTEIN, msa="empty")),
    target(
        "pair",
        protein(PROTEIN),
        protein(OTHER),
        {"kind": "ligand", "smiles": "CC(O)F", "copies": 2},
        msas=ALIGNED,
    ),
    target("unknown", protein(OTHER, msa="empty"), {"kind": "ligand", "ccd": ["ZZZZZ"]}),
    target(
        "mixed",
        protein(OTHER, msa="empty", modifications=[{"position": 2, "ccd": "SEP"}]),
        {"kind": "rna", "sequence": "ACGUN"},
        {"kind": "ligand", "ccd": ["ATP"]},
        protein(OTHER, msa="empty", modifications=[{"position": 2, "ccd": "SEP"}]),
    ),
    target("affine", protein(OTHER, msa="empty"), {**ETHANOL, "chains": ["L"]}, affinity="L"),
    target(
        "affine_ccd",
        protein(OTHER, msa="empty"),
        {"kind": "ligand", "ccd": ["BEN"], "chains": ["L"]},
        affinity="L",
    ),
]
AFFINE = ["affine", "affine_ccd"]
WHOLE = ["alone", "pair", "mixed", *AFFINE]


@dataclass
class Boltz:
    """The engine's interpreter, and random parameters."""

    python: str
    weights: Path
    variables: dict[str, str]

    def run(self, *arguments: str, given: str = "") -> str:
        done = subprocess.run(
            [self.python, *arguments],
            input=given,
            capture_output=True,
            text=True,
            env=self.variables,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def boltz(tmp_path_factory: pytest.TempPathFactory) -> Boltz:
    place = environments.place_of(ENGINE)
    assert place.prefix is not None
    weights = tmp_path_factory.mktemp("weights")
    variables = {**environments.variables(ENGINE, place.prefix), "OMP_NUM_THREADS": "1"}
    found = Boltz(str(environments.interpreter(place.prefix)), weights, variables)
    draw = (
        "import sys, pathlib\nfrom snakefold.engines.boltz2 import rehearsal\n"
        "folder = pathlib.Path(sys.argv[1])\nrehearsal.declare(folder)\n"
        "rehearsal.draw(folder, ['ATP', 'BEN', 'SEP'], affinity=True)\n"
    )
    found.run("-c", draw, str(weights))
    return found


@dataclass
class Predicted:
    """Folders of a session's two rounds, and what it told of each target."""

    folder: Path
    told: list[list[dict[str, str]]]

    def files(self, number: int, name: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.folder / str(number) / name).iterdir())}

    def result(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.files(0, name)["result.json"])
        return found


@pytest.fixture(scope="module")
def predicted(boltz: Boltz, tmp_path_factory: pytest.TempPathFactory) -> Predicted:
    folder = tmp_path_factory.mktemp("session")
    given = json.dumps({"settings": SETTINGS, "targets": TARGETS})
    said = boltz.run(str(HERE / "boltz_session.py"), str(boltz.weights), str(folder), given=given)
    return Predicted(folder, json.loads(said.splitlines()[-1]))


@pytest.fixture(scope="module")
def reference(
    boltz: Boltz, predicted: Predicted, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Where Boltz's own command writes a target. It cannot mix targets with and without affinity."""
    out = tmp_path_factory.mktemp("reference")
    inputs = {name: "affinity" if name in AFFINE else "inputs" for name in WHOLE}
    (predicted.folder / "inputs" / "unknown.yaml").unlink()  # ends Boltz's command
    for each in set(inputs.values()):
        boltz.run(
            *(str(HERE / "boltz_reference.py"), str(SEED), "predict", str(predicted.folder / each)),
            *("--cache", str(boltz.weights / "boltz2"), "--out_dir", str(out), *ARGUMENTS),
        )
    return lambda name: out / f"boltz_results_{inputs[name]}" / "predictions" / name


@pytest.mark.parametrize("name", WHOLE)
def test_results_are_those_of_boltz_byte_by_byte(
    name: str, predicted: Predicted, reference: Callable[[str], Path]
) -> None:
    ours, theirs = predicted.files(0, name), reference(name)
    for number in range(2):
        model = f"boltz2_seed_{SEED}_model_{number}"
        assert ours[f"{model}.cif"] == (theirs / f"{name}_model_{number}.cif").read_bytes()
        confidence = json.loads((theirs / f"confidence_{name}_model_{number}.json").read_text())
        assert json.loads(ours[f"{model}.json"]) == confidence
    if name in AFFINE:
        affinity = json.loads((theirs / f"affinity_{name}.json").read_text())
        assert json.loads(ours["affinity.json"])["chains"] == {"B": affinity}
        assert affinity.items() <= {**predicted.result(name)["scores"], "binder_chain": "B"}.items()


def test_arrays_are_boltzs_in_the_order_of_the_target(
    predicted: Predicted, reference: Callable[[str], Path]
) -> None:
    """Boltz computes the two equal proteins first: 10, 10, 5 and 31 tokens; the target has 10, 5, 31, 10."""
    (best, _) = predicted.result("mixed")["models"]
    theirs = np.load(reference("mixed") / "pae_mixed_model_0.npz")["pae"]
    assert theirs.shape == (56, 56)
    order = [*range(10), *range(20, 56), *range(10, 20)]
    assert np.array_equal(np.array(best["pae"], np.float32), theirs[np.ix_(order, order)])
    assert best["tokens"]["chain"] == [0] * 10 + [1] * 5 + [2] * 31 + [3] * 10
    plddt = 100.0 * np.load(reference("mixed") / "plddt_mixed_model_0.npz")["plddt"][order].astype(float)
    assert best["plddt"] == pytest.approx([*plddt[:15], plddt[15:46].mean(), *plddt[46:]])


@pytest.mark.parametrize("name", WHOLE)
def test_a_result_does_not_depend_on_what_ran_before(name: str, predicted: Predicted) -> None:
    assert predicted.files(0, name) == predicted.files(1, name)


def test_a_target_fails_alone_with_its_own_reason(predicted: Predicted) -> None:
    for told in predicted.told[:2]:
        failed = [each for each in told if "reason" in each]
        assert [(each["id"], each["reason"]) for each in failed] == [("unknown", "invalid_input")]
        assert "ZZZZZ" in failed[0]["message"]
    ((gone,),) = predicted.told[2:]
    assert gone["reason"] == "out_of_memory"


def test_models_say_what_they_were_made_with(predicted: Predicted) -> None:
    assert [model["recycles"] for model in predicted.result("alone")["models"]] == [1, 1]
    assert predicted.result("affine")["notes"] == []
    assert predicted.result("pair")["notes"] == ["undefined_stereo: ligand CC(O)F: 1 stereocentre not given"]


def test_models_differ(predicted: Predicted) -> None:
    files = predicted.files(0, "alone")
    assert files[f"boltz2_seed_{SEED}_model_0.cif"] != files[f"boltz2_seed_{SEED}_model_1.cif"]


def test_a_run_from_yaml_to_metrics(boltz: Boltz, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        "version: 1\nsequences:\n"
        f"  - protein: {{id: A, sequence: {OTHER}, msa: empty}}\n"
        "  - ligand: {id: B, smiles: CCO}\nproperties:\n  - affinity: {binder: B}\n"
    )
    (tmp_path / "two.yaml").write_text(
        "version: 1\nsequences:\n"
        f"  - protein: {{id: [A, B], sequence: {OTHER}, msa: empty, cyclic: true}}\n"
        "  - dna: {id: D, sequence: ACGT}\n  - ligand: {id: E, ccd: [NAG, NAG]}\nconstraints:\n"
        "  - bond: {atom1: [B, 2, OG], atom2: [E, 1, C1]}\n"
        "  - bond: {atom1: [E, 2, C1], atom2: [E, 1, O4]}\n"
    )
    settings = [
        "engine=boltz2",
        "weights=rehearsal",
        "msa.tool=single_sequence",
        f"store={tmp_path / 'store'}",
    ]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("snakefold")), "run", "one.yaml", "two.yaml"]
        + [word for each in settings for word in ("--set", each)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = {row["id"]: row for row in read_rows(tmp_path / "results" / "metrics.tsv")}
    assert rows["one"]["rehearsal"] == rows["two"]["rehearsal"] == "True"
    assert float(rows["one"]["affinity_pred_value"]) == pytest.approx(
        (float(rows["one"]["affinity_pred_value1"]) + float(rows["one"]["affinity_pred_value2"])) / 2,
        abs=1e-5,
    )
    assert rows["two"]["affinity_pred_value"] == ""
    assert (rows["two"]["chains"], rows["two"]["length"]) == ("4", "24")
    for name, kinds in (("one", ["protein", "ligand"]), ("two", ["protein", "protein", "dna", "ligand"])):
        folder = tmp_path / "results" / "structures" / name
        confidence = Confidence.model_validate_json((folder / "confidence.json").read_bytes())
        assert confidence.chain_kinds == kinds
        model = gemmi.read_structure(str(folder / "ranked_0.cif"))
        assert [len(chain) for chain in model[0]] == confidence.chain_lengths
        bonds = bonded(folder / "ranked_0.cif")
        assert len(bonds) == {"one": 0, "two": 4}[name]
        assert bonds == bonded(folder / f"{confidence.models[0].name}.cif")
        for path in folder.iterdir():
            if path.suffix in (".cif", ".pdb", ".json") and path.name not in ("timings.json", "tokens.json"):
                assert "REHEARSAL" in path.read_text() or '"rehearsal":true' in path.read_text(), path.name
    assert "Boltz-2 (boltz-community" in (tmp_path / "results" / "methods.md").read_text()


def bonded(path: Path) -> set[frozenset[tuple[str, str, str]]]:
    """Both ends of every bond that a file names: chain, number of the residue, atom."""
    ends = [f"ptnr{side}_auth_{what}" for side in (1, 2) for what in ("asym_id", "seq_id")]
    atoms = ["ptnr1_label_atom_id", "ptnr2_label_atom_id"]
    table = gemmi.cif.read(str(path)).sole_block().find("_struct_conn.", [*ends, *atoms])
    rows = [[gemmi.cif.as_string(value) for value in row] for row in table]
    return {frozenset([(row[0], row[1], row[4]), (row[2], row[3], row[5])]) for row in rows}


def read_rows(path: Path) -> list[dict[str, str]]:
    header, *lines = path.read_text().splitlines()
    names = header.split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines]


WRITTEN: dict[str, dict[str, Any]] = {
    "copies": {"entities": [protein(PROTEIN, copies=2, msa="empty"), {**ETHANOL, "copies": 2}]},
    "affinity": {
        "entities": [protein(PROTEIN, msa="empty"), {"kind": "ligand", "ccd": ["ATP"], "chains": ["L"]}],
        "affinity": "L",
    },
    "nucleic": {
        "entities": [{"kind": "dna", "sequence": "ACGT", "copies": 2}, {"kind": "rna", "sequence": "ACGU"}]
    },
    "modified": {
        "entities": [protein(OTHER, msa="empty", cyclic=True, modifications=[{"position": 2, "ccd": "SEP"}])]
    },
    "ids": {"entities": [protein(PROTEIN, chains=["no", "1"], msa="empty"), {**ETHANOL, "chains": ["null"]}]},
    "constraints": {
        "entities": [
            protein(PROTEIN, chains=["A"], msa="empty"),
            {"kind": "ligand", "ccd": ["ATP"], "chains": ["L"]},
        ],
        "constraints": [
            {
                "kind": "bond",
                "atoms": [
                    {"chain": "A", "residue": 2, "atom": "NZ"},
                    {"chain": "L", "residue": 1, "atom": "PG"},
                ],
            },
            {"kind": "pocket", "binder": "L", "contacts": [{"chain": "A", "residue": 3}], "max_distance": 5},
            {"kind": "contact", "tokens": [{"chain": "A", "residue": 1}, {"chain": "A", "residue": 9}]},
        ],
    },
}


def test_boltz_parses_what_is_written_for_it(boltz: Boltz, tmp_path: Path) -> None:
    """`snakefold convert` to Boltz's YAML: its own parser finds every chain, constraint and affinity."""
    for name, content in WRITTEN.items():
        text = writer.write(Assembly.model_validate(content), name, Beside())
        (tmp_path / f"{name}.yaml").write_text(text)
    parse = (
        "import json, sys, pathlib\nfrom boltz.data.mol import load_canonicals\n"
        "from boltz.data.parse.yaml import parse_yaml\n"
        "folder, mols = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) / 'boltz2' / 'mols'\n"
        "ccd, told = load_canonicals(mols), {}\n"
        "for path in sorted(folder.glob('*.yaml')):\n"
        "    found = parse_yaml(path, ccd, mols, True)\n"
        "    options = found.record.inference_options\n"
        "    told[path.stem] = {\n"
        "        'chains': [each.chain_name for each in found.record.chains],\n"
        "        'pockets': len(options.pocket_constraints or ()),\n"
        "        'contacts': len(options.contact_constraints or ()),\n"
        "        'affinity': found.record.affinity is not None,\n"
        "    }\n"
        "print(json.dumps(told))\n"
    )
    told = json.loads(boltz.run("-c", parse, str(tmp_path), str(boltz.weights)).splitlines()[-1])
    assert {name: each["chains"] for name, each in told.items()} == {
        name: [chain for chain, _ in Assembly.model_validate(content).chains()]
        for name, content in WRITTEN.items()
    }
    assert (told["constraints"]["pockets"], told["constraints"]["contacts"]) == (1, 1)
    assert {name for name, each in told.items() if each["affinity"]} == {"affinity"}
