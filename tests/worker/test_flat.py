"""The flat form from sequence to tar.gz, in the handler and its warm process, with random parameters."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry
from snakefold.plan.files import PlannedBatch, PlannedTarget
from snakefold.worker.endpoints import FlatRequest
from snakefold.worker.here import choose_databases, chunks_of
from snakefold.worker.settings import read_settings
from snakefold.worker.tasks import new_context
from tests.worker.conftest import data_of, told
from tests.worker.receiver import SECRET, Receiver, receiving

Worker = Callable[..., dict[str, Any]]
SEQUENCE = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQ"
TRIED = {"sequence": SEQUENCE, "rehearsal": True}


@pytest.fixture(scope="module", autouse=True)
def receiver() -> Iterator[Receiver]:
    """A receiver of callbacks, which the worker of this module knows when it starts."""
    with receiving() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNAKEFOLD_CALLBACK_SECRET", SECRET)
        patch.setenv("SNAKEFOLD_CALLBACK_HOSTS", f"http://{running.host}")
        yield running


def members(archive: dict[str, Any]) -> dict[str, bytes]:
    """Files of an inline archive."""
    return unpacked(data_of(archive))


def unpacked(data: bytes) -> dict[str, bytes]:
    """Files of a tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_sequence_becomes_alphafolds_files(worker: Worker) -> None:
    given = {
        "sequence": SEQUENCE,
        "rehearsal": True,
        "db_preset": "demo",
        "alphafold_extra_flags": ["--models_to_relax=none"],
    }
    answer = worker(**given)
    assert "error" not in answer, answer
    archive = answer["archive"]
    assert (archive["name"], archive["id"], archive["rehearsal"]) == ("sequence.tar.gz", "sequence", True)
    files = members(archive)
    assert {"ranked_0.pdb", "ranked_1.pdb", "ranking_debug.json", "confidence.json", "msa.a3m"} <= set(files)
    ranking = json.loads(files["ranking_debug.json"])
    assert sorted(ranking["order"]) == ["model_1_ptm_pred_0", "model_2_ptm_pred_0"]
    assert ranking["REHEARSAL"] is True
    assert b"REHEARSAL" in files["ranked_0.pdb"]
    atoms = [line for line in files["ranked_0.pdb"].decode().splitlines() if line.startswith("ATOM")]
    assert {int(line[22:26]) for line in atoms} == set(range(1, len(SEQUENCE) + 1))
    # The demo's database has ubiquitin's relatives; it has no templates, and that is said.
    assert files["msa.a3m"].count(b">") > 3
    assert any("no template databases" in text for text in answer["warnings"])
    assert (answer["db_preset"], answer["rehearsal"]) == ("demo", True)
    again = worker(**given)
    assert data_of(again["archive"]) == data_of(archive)
    assert again["digest"] == answer["digest"]
    assert "1 target, 0 to predict" in again["log"]


@pytest.mark.slow
def test_several_records_are_several_archives_in_order(worker: Worker, receiver: Receiver) -> None:
    """Single chains and complexes together, each with its own network; one sequence is there twice."""
    fasta = f">one desc\n{SEQUENCE}\n>two\n{SEQUENCE[:21]}:{SEQUENCE[:20:-1]}\n>one\n{SEQUENCE}\n"
    volume: Path = worker.folder / "volume"  # type: ignore[attr-defined]
    answer = worker(
        fasta=fasta,
        rehearsal=True,
        db_preset="single_sequence",
        alphafold_extra_flags=["--models_to_relax", "none", "--num_multimer_predictions_per_model=1"],
        results=[{"inline": True}, {"path": "flat/two.tar.gz"}, {"inline": True}],
        callback_url=receiver.url,
        idempotency_prefix="flat",
    )
    assert "error" not in answer, answer
    assert answer["callback_failures"] == []
    said = [receiver.kept[f"flat:{number}"] for number in range(3)]
    assert [(each["id"], each["status"]) for each in said] == [
        ("one", "done"),
        ("two", "done"),
        ("one-2", "done"),
    ]
    assert (said[1]["path"], said[1]["sha256"]) == ("flat/two.tar.gz", answer["archives"][1]["sha256"])
    assert all(each["rehearsal"] for each in said) and SECRET not in json.dumps(answer)
    first, second, third = answer["archives"]
    assert [each["id"] for each in answer["archives"]] == ["one", "two", "one-2"]
    assert data_of(first) == data_of(third)
    assert set(json.loads(members(first)["ranking_debug.json"])) >= {"plddts", "order"}
    assert (second["stored"], second["path"]) == (True, "flat/two.tar.gz")
    files = unpacked((volume / "flat" / "two.tar.gz").read_bytes())
    ranking = json.loads(files["ranking_debug.json"])
    # Ranked as AlphaFold does, and with the number that programs look for.
    names = {f"model_{n}_multimer_v3_pred_0" for n in (1, 2)}
    assert set(ranking["iptm+ptm"]) == set(ranking["plddts"]) == names
    scores = json.loads(files["confidence.json"])["models"]
    assert ranking["plddts"] == {model["name"]: model["mean_plddt"] for model in scores}
    atoms = [line for line in files["ranked_0.pdb"].decode().splitlines() if line.startswith("ATOM")]
    residues = {chain: {int(line[22:26]) for line in atoms if line[21] == chain} for chain in "AB"}
    assert {chain: len(found) for chain, found in residues.items()} == {"A": 21, "B": 20}
    assert "archive" not in answer


@pytest.mark.parametrize(
    ("given", "reason", "text"),
    [
        ({"sequence": SEQUENCE}, "weights_missing", "params_model_3_ptm"),
        ({**TRIED, "db_preset": "reduced_dbs"}, "database_missing", "uniref90"),
        ({**TRIED, "db_preset": "big_dbs"}, "invalid_input", "db_preset"),
        ({"sequence": "ACGTACGTACGTACGTACGT"}, "invalid_input", "looks like DNA"),
        ({"fasta": f">a\n{SEQUENCE}\n>b\nMK-1\n"}, "invalid_input", "fasta:4"),
        ({"sequence": f"{SEQUENCE}:MK", "model_preset": "monomer"}, "invalid_input", "several chains"),
        ({"fasta": f">a\n{SEQUENCE}\n>b\nMKT", "results": {"path": "x"}}, "invalid_input", "list of 2"),
        ({"fasta_url": "https://127.0.0.1/a.fasta"}, "invalid_input", "private or reserved"),
        ({"fasta_url": "https://localhost/a.fasta"}, "invalid_input", "private or reserved"),
        ({**TRIED, "alphafold_extra_flags": ["--data_dir=/"]}, "invalid_input", "--data_dir is not allowed"),
    ],
)
def test_what_cannot_be_done_has_its_reason(
    worker: Worker, given: dict[str, Any], reason: str, text: str
) -> None:
    failed = told(worker(**given))
    assert (failed["reason"], text in failed["message"]) == (reason, True), failed


def test_databases_that_are_there_are_chosen(tmp_path: Path) -> None:
    root = tmp_path / "databases"
    given = {"SNAKEFOLD_STORE": str(tmp_path / "store"), "SNAKEFOLD_DB_ROOT": str(root)}
    context = new_context(read_settings(given))
    request = FlatRequest(sequence=SEQUENCE, max_template_date="2021-11-01")
    alone = choose_databases(request.db_preset, request.max_template_date, context, multimer=False)
    assert (alone.name, alone.msa.tool) == ("single_sequence", "single_sequence")
    assert "no alignment was searched for" in alone.warnings[0]
    names = [
        "uniref90/uniref90.fasta",
        "small_bfd/bfd-first_non_consensus_sequences.fasta",
        "mgnify/mgy_clusters_2022_05.fa",
    ]
    for name in names:
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(f">x\n{SEQUENCE}\n")
    found = choose_databases(request.db_preset, request.max_template_date, context, multimer=False)
    assert (found.name, found.msa.tool, found.msa.templates) == ("reduced_dbs", "jackhmmer", "none")
    # A complex needs UniProt to pair its chains.
    assert (
        choose_databases(request.db_preset, request.max_template_date, context, multimer=True).name
        == "single_sequence"
    )
    kinds = [f"{name}.{end}" for name in ("a3m", "hhm", "cs219") for end in ("ffdata", "ffindex")]
    for name in [
        *(f"pdb70/pdb70_{kind}" for kind in kinds),
        "pdb_mmcif/mmcif_files/x",
        "pdb_mmcif/obsolete.dat",
    ]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    templates = choose_databases(request.db_preset, request.max_template_date, context, multimer=False)
    assert (templates.msa.templates, templates.msa.max_template_date) == ("hhsearch", "2021-11-01")
    assert templates.warnings == []


def test_only_what_the_worker_lacks_is_searched(tmp_path: Path) -> None:
    """A damaged entry is searched as one that is missing; chains for pairing are searched apart."""
    context = new_context(read_settings({"SNAKEFOLD_STORE": str(tmp_path / "store")}))
    chains = [SEQUENCE[:-end] for end in range(1, 6)]
    keys = [sequence_key([chain]) for chain in chains]
    _whole, without_templates, damaged, missing, paired = keys
    msa, pairing, templates = "1" * 16, "2" * 16, "3" * 16
    batch = PlannedBatch(
        batch="flat",
        engine="alphafold2",
        recipe="0" * 16,
        msa_recipes={**dict.fromkeys(keys, msa), paired: pairing},
        paired=[paired],
        templates=templates,
        rehearsal=True,
        chunks=[],
        targets=[PlannedTarget(target=TargetInput(id="a", key="4" * 64, chains=chains))],
    )
    for key in keys:
        context.store.put(Entry("msa", batch.msa_recipes[key], key), b"alignment")
        context.store.put(Entry("templates", templates, key), b"templates")
    assert list(chunks_of(batch, context)) == []
    context.store.remove(Entry("templates", templates, without_templates))
    context.store.remove(Entry("msa", msa, missing))
    context.store.remove(Entry("msa", pairing, paired))
    for kind, recipe in (("msa", msa), ("templates", templates)):
        path = tmp_path / "store" / Entry(kind, recipe, damaged).name
        path.write_bytes(path.read_bytes()[:-1])
    found = [
        (chunk.recipe, chunk.pairing, [chain.key for chain in chunk.chains])
        for chunk in chunks_of(batch, context)
    ]
    assert found == [(msa, False, [without_templates, damaged, missing]), (pairing, True, [paired])]
    assert not context.store.has(Entry("msa", msa, damaged))
    assert not context.store.has(Entry("templates", templates, damaged))
