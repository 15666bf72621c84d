"""Engine af3 in its environment, with random parameters: two models end to end, equal bytes however they ran.

Needs the environment: snakefold engines install af3.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from snakefold.engines import environments
from snakefold.engines.af3 import ENGINE, rehearsal, templates
from snakefold.engines.af3.inputs import chains_of, document
from snakefold.engines.af3.models import NETWORKS
from snakefold.engines.af3.msa import Alignment
from snakefold.kernel import archive
from snakefold.kernel.contracts import Confidence, FoldRequest, RelaxSettings, TargetInput
from snakefold.kernel.store import Entry, open_store
from snakefold.molecules.entities import Assembly
from snakefold.run.task import read_response

pytestmark = pytest.mark.needs("af3")
HERE = Path(__file__).parent
SNAKEFOLD = str(Path(sys.executable).with_name("snakefold"))
PROTEIN = "MKTAYIAKQRQISFVKS"
OTHER = "GSHMWWACDE"
RECIPE = "0" * 16
SETTINGS = {
    "accelerator": "cpu",
    "precision": "float32",
    "attention": "xla",
    "num_diffusion_samples": 2,
    "num_seeds": 2,
    "num_recycles": 0,
    "num_sampling_steps": 4,
    "num_msa": 16,
    "buckets": [32],
}


def target(name: str, *entities: dict[str, Any], **more: Any) -> TargetInput:
    assembly = Assembly.model_validate({"entities": entities, **more})
    return TargetInput(
        id=name, key=assembly.key, chains=[], assembly=assembly.model_dump(mode="json", exclude_defaults=True)
    )


PAIR = target(
    "pair", {"kind": "protein", "sequence": PROTEIN, "msa": "empty"}, {"kind": "ligand", "smiles": "CC(N)O"}
)
MIXED = target(
    "mixed",
    {"kind": "rna", "sequence": "ACGU"},
    {
        "kind": "protein",
        "sequence": OTHER,
        "msa": "empty",
        "modifications": [{"position": 2, "ccd": "SEP"}],
    },
)


@dataclass(frozen=True)
class Site:
    """Where a model's tasks run."""

    folder: Path
    model: str

    def command(self, name: str, targets: list[TargetInput]) -> tuple[list[str], Path]:
        """`snakefold task` of a request, and the folder of its store."""
        settings = {**SETTINGS, "model": self.model}
        request = FoldRequest(
            batch="b",
            engine="af3",
            settings=settings,
            relax=RelaxSettings(models_to_relax="none"),
            recipe=RECIPE,
            rehearsal=True,
            targets=targets,
        )
        place = self.folder / name
        place.mkdir()
        (place / "request.json").write_text(request.model_dump_json())
        (place / "inputs.tar.zst").write_bytes(archive.pack({}))
        words = [SNAKEFOLD, "task", str(place / "request.json"), "--out", str(place / "out.tar.zst")]
        words += ["--store", str(place / "store"), "--weights", str(self.folder / "weights")]
        return [*words, "--cache", str(self.folder / "compiled")], place / "store"

    def run(self, command: list[str]) -> dict[str, dict[str, bytes]]:
        """Run a task; files of its targets."""
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        packed = archive.unpack(Path(command[command.index("--out") + 1]).read_bytes())
        response = read_response(packed)
        assert [(each.state, each.message) for each in response.outcomes] == [("done", "")] * len(
            response.outcomes
        )
        return {
            each.id: archive.unpack(packed[f"targets/{each.result_key}.tar.zst"])
            for each in response.outcomes
        }


def site(folder: Path, model: str) -> Site:
    rehearsal.declare(folder / "weights", NETWORKS[model])
    return Site(folder, model)


@pytest.fixture(scope="module")
def openfold(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return site(tmp_path_factory.mktemp("openfold3"), "openfold3")


@pytest.fixture(scope="module")
def batch(openfold: Site) -> dict[str, dict[str, bytes]]:
    return openfold.run(openfold.command("batch", [PAIR, MIXED])[0])


def same(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    """Every file is equal but for seconds, and for notes on processes that died."""
    assert set(one) == set(other)
    for name in set(one) - {"timings.json", "confidence.json"}:
        assert one[name] == other[name], name
    left, right = (json.loads(each["confidence.json"]) for each in (one, other))
    assert {**left, "warnings": []} == {**right, "warnings": []}


def see_that_all_is_there(files: dict[str, bytes], given: TargetInput, model: str) -> None:
    network, chains = NETWORKS[model], chains_of(given)
    found = Confidence.model_validate_json(files["confidence.json"])
    assert found.rehearsal
    assert found.scores["af3_model"] == model
    assert found.scores["weights_licence"] == network.licence == "Apache-2.0"
    assert 0 <= found.scores["fraction_disordered"] <= 1
    assert set(found.scores) <= set(ENGINE.columns)
    assert not [text for text in found.warnings if text.startswith("no_disorder")]
    scores = [model.ranking_confidence for model in found.models]
    assert scores == sorted(scores, reverse=True) == [pytest.approx(each, abs=1e-4) for each in scores]
    names = {f"seed_{seed}_sample_{sample}" for seed in (1, 2) for sample in (0, 1)}
    assert {model.name for model in found.models} == names
    assert len({files[f"ranked_{rank}.cif"] for rank in range(4)}) == 4
    tokens = json.loads(files["tokens.json"])
    count = len(tokens["chain"])
    assert count == ENGINE.size(given) - (given is MIXED)  # the OXT of SEP, which is in no chain's middle
    with np.load(io.BytesIO(files["pae.npz"])) as pae:
        assert pae["rank_0"].shape == (count, count)
    with np.load(io.BytesIO(files["contact_probs.npz"])) as contacts:
        assert contacts["rank_1"].shape == (count, count)
        assert float(contacts["rank_0"].max()) <= 1
    summary = json.loads(files[f"{found.models[0].name}.json"])
    assert np.array(summary["chain_pair_iptm"]).shape == (len(chains.entities),) * 2
    assert summary["ranking_score"] == pytest.approx(found.models[0].ranking_confidence, abs=1e-5)
    for rank in range(2):
        text = files[f"ranked_{rank}.cif"].decode()
        assert "REHEARSAL" in text
        assert network.title in json.loads(files["af3.json"])["title"]
        assert f"weights_licence {network.licence}" in text
        assert not [
            word for word in ("non-commercial", "Non-commercial", "Google", "DeepMind") if word in text
        ]
        read = gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())
        assert [len(chain) for chain in read[0]] == found.chain_lengths
    for name in ("af3.json", f"{found.models[1].name}.json"):
        assert json.loads(files[name])["REHEARSAL"] is True


@pytest.mark.parametrize("given", [PAIR, MIXED], ids=["pair", "mixed"])
def test_openfold3_end_to_end(batch: dict[str, dict[str, bytes]], given: TargetInput) -> None:
    see_that_all_is_there(batch[given.id], given, "openfold3")


def test_protenix2_end_to_end(tmp_path: Path, batch: dict[str, dict[str, bytes]]) -> None:
    other = site(tmp_path, "protenix2")
    found = other.run(other.command("batch", [PAIR, MIXED])[0])
    for given in (PAIR, MIXED):
        see_that_all_is_there(found[given.id], given, "protenix2")
        assert found[given.id]["ranked_0.cif"] != batch[given.id]["ranked_0.cif"]


def test_a_bucket_is_compiled_once(batch: dict[str, dict[str, bytes]]) -> None:
    compiling = {name: json.loads(files["timings.json"])["compile"] for name, files in batch.items()}
    assert compiling["pair"] > 1 > compiling["mixed"] == 0


def test_a_target_alone_is_the_one_of_a_batch(openfold: Site, batch: dict[str, dict[str, bytes]]) -> None:
    same(openfold.run(openfold.command("alone", [MIXED])[0])["mixed"], batch["mixed"])


def test_after_a_kill_results_are_the_same(openfold: Site, batch: dict[str, dict[str, bytes]]) -> None:
    command, place = openfold.command("killed", [PAIR, MIXED])
    store = open_store(str(place))
    first = Entry("fold", RECIPE, PAIR.result_key)
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        until = time.monotonic() + 500
        while not store.has(first) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    assert store.has(first)
    assert not store.has(Entry("fold", RECIPE, MIXED.result_key))
    found = openfold.run(command)
    same(found["pair"], batch["pair"])
    same(found["mixed"], batch["mixed"])


def test_tokens_are_residues_and_atoms(batch: dict[str, dict[str, bytes]]) -> None:
    tokens = json.loads(batch["mixed"]["tokens.json"])
    assert tokens["chain"] == [0] * 4 + [1] * (len(tokens["chain"]) - 4)
    assert tokens["residue"][:4] == [1, 2, 3, 4]
    atoms = [atom for atom, residue in zip(tokens["atom"], tokens["residue"], strict=True) if residue == 2][
        1:
    ]
    assert {"N", "CA", "OG", "P"} <= set(atoms)
    assert [atom for atom, each in zip(tokens["atom"], tokens["residue"], strict=True) if each != 2] == [
        ""
    ] * 12


# ---- what is said of the wheel ---------------------------------------------------------------------------
def a3m(*rows: tuple[str, str]) -> str:
    return "".join(f">{name}\n{row}\n" for name, row in rows)


def template_npz(sequence: str, letters: str) -> bytes:
    """Places on a line, for every residue that `letters` has."""
    places = np.zeros((1, len(sequence), 37, 3), np.float32)
    mask = np.zeros((1, len(sequence), 37), np.float32)
    for number, letter in enumerate(letters):
        if letter != "-":
            places[0, number, :5] = [[3.8 * number + shift, shift, 0.5 * shift] for shift in range(5)]
            mask[0, number, [0, 1, 2, 4]] = 1
    stream = io.BytesIO()
    np.savez(
        stream,
        template_all_atom_positions=places,
        template_all_atom_masks=mask,
        template_sequence=np.array([letters.encode()]),
    )
    return stream.getvalue()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    modified = chains_of(
        target("m", {"kind": "protein", "sequence": OTHER, "modifications": [{"position": 2, "ccd": "SEP"}]})
    )
    two = chains_of(
        target("t", {"kind": "protein", "sequence": PROTEIN}, {"kind": "protein", "sequence": OTHER})
    )
    bound = chains_of(
        target(
            "b",
            {"kind": "protein", "sequence": "GSNMT"},
            {"kind": "ligand", "ccd": ["NAG"], "chains": ["L"]},
            constraints=[
                {
                    "kind": "bond",
                    "atoms": [
                        {"chain": "A", "residue": 3, "atom": "ND2"},
                        {"chain": "L", "residue": 1, "atom": "C1"},
                    ],
                }
            ],
        )
    )
    hit = f"{PROTEIN[:8]}{'-' * (len(PROTEIN) - 8)}"
    paired = {
        PROTEIN: Alignment(
            a3m(("q", PROTEIN)), a3m(("q", PROTEIN), ("tr|K0000007|K0000007_00007", f"-{PROTEIN[1:]}"))
        ),
        OTHER: Alignment(
            a3m(("q", OTHER)), a3m(("q", OTHER), ("tr|K0000007|K0000007_00007", f"A{OTHER[1:]}"))
        ),
    }
    documents = {
        "modified": document(modified, {OTHER: Alignment(a3m(("q", OTHER), ("x", f"-{OTHER[1:]}")))}, {}, 1),
        "paired": document(two, paired, {}, 1),
        "bound": document(bound, {}, {}, 1),
        "unbound": document(
            chains_of(
                target("b", {"kind": "protein", "sequence": "GSNMT"}, {"kind": "ligand", "ccd": ["NAG"]})
            ),
            {},
            {},
            1,
        ),
        "template": document(two, {}, {0: templates.of_chain(template_npz(PROTEIN, hit))}, 1),
        "unknown": document(
            chains_of(
                target("u", {"kind": "protein", "sequence": OTHER}, {"kind": "ligand", "ccd": ["HEM"]})
            ),
            {},
            {},
            1,
        ),
    }
    place = environments.place_of(ENGINE)
    assert place.prefix is not None
    done = subprocess.run(
        [
            str(environments.interpreter(place.prefix)),
            str(HERE / "af3_wheel.py"),
            str(tmp_path_factory.mktemp("components")),
        ],
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        env=environments.variables(ENGINE, place.prefix),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_what_is_said_of_models_is_what_the_wheel_says(wheel: dict[str, Any]) -> None:
    assert {
        name: [
            each.recycles,
            each.steps,
            f"{each.folder}/{each.file}" if each.folder else "",
            each.tokens_by_residue,
        ]
        for name, each in NETWORKS.items()
    } == wheel["registered"]


def test_components_are_what_the_wheels_parser_reads(wheel: dict[str, Any]) -> None:
    assert wheel["dictionary"] == {"ALA": True, "ATP": True, "SEP": True}
    assert "O5'" in {*wheel["primes"], "O5'"}


def test_nothing_of_the_environment_changes_a_default(wheel: dict[str, Any]) -> None:
    assert wheel["variables"] == []


def test_one_process_runs_one_model(wheel: dict[str, Any]) -> None:
    assert "start another process" in wheel["another_model"]


def test_without_dssp_nothing_is_predicted(wheel: dict[str, Any]) -> None:
    assert "DSSP" in wheel["without_dssp"]
    assert "engines doctor af3" in wheel["without_dssp"]


def test_inputs_reach_the_featuriser(wheel: dict[str, Any]) -> None:
    found = wheel["features"]
    # SEP is ten atoms; its OXT is in the size, and not in a chain's middle.
    assert found["modified"]["tokens"] == len(OTHER) - 1 + 10
    assert (found["modified"]["bucket"], found["paired"]["bucket"]) == (32, 32)
    assert (found["bound"]["bonds"], found["unbound"]["bonds"]) == (1, 0)
    assert (found["template"]["templates"], found["paired"]["templates"]) == (1, 0)
    assert found["template"]["modelled"] == 8
    # A row of the alignment has both proteins, because their rows have one key.
    query, *others = found["paired"]["msa"]
    changed = [[place for place, letter in enumerate(row) if letter != query[place]] for row in others]
    assert [0, len(PROTEIN)] in changed
    assert "HEM" in found["unknown"]["refused"]


# ---- a run -----------------------------------------------------------------------------------------------
@pytest.mark.needs("boltz2")
def test_two_engines_predict_one_assembly_in_one_run(tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text(
        f"id,sequence,ligand_smiles,engine\nby_af3,{OTHER},CCO,af3\nby_boltz2,{OTHER},CCO,boltz2\n"
    )
    settings = ["weights=rehearsal", "msa.tool=single_sequence", "engines=[af3, boltz2]"]
    done = subprocess.run(
        [SNAKEFOLD, "run", "sheet.csv"] + [word for each in settings for word in ("--set", each)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    header, *lines = (tmp_path / "results" / "metrics.tsv").read_text().splitlines()
    rows = {
        row["id"]: row
        for row in (dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines)
    }
    assert {name: row["engine"] for name, row in rows.items()} == {"by_af3": "af3", "by_boltz2": "boltz2"}
    assert rows["by_af3"]["key"] == rows["by_boltz2"]["key"]
    assert rows["by_af3"]["ranking_score"] and not rows["by_boltz2"]["ranking_score"]
    assert rows["by_boltz2"]["confidence_score"] and not rows["by_af3"]["confidence_score"]
