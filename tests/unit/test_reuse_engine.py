"""Structures that are taken: from the plan to the tables, labelled all the way."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import gemmi
import numpy as np
import pytest
import reuse_files as make

from snakefold import report
from snakefold.config import Config, load_config
from snakefold.engines import reuse
from snakefold.engines.reuse.found import Found, Place
from snakefold.engines.reuse.inputs import batch_recipe, reuse_inputs
from snakefold.engines.reuse.lookup import lookup
from snakefold.kernel import archive
from snakefold.kernel.contracts import Confidence, FoldRequest, FoldResponse, RelaxSettings, TargetInput
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import open_store
from snakefold.plan.draft import Draft
from snakefold.plan.files import read_batch
from snakefold.plan.planner import make_plan
from snakefold.plan.present import Recipes
from snakefold.run import collect, requests, task
from snakefold.structures import files as structures
from snakefold.structures.confidence import pae_archive, read_pae

PROTEIN, OTHER, THIRD = "MKTAYIAKQRQISFVKSH", "GSHMWWACDEFGHIKLMN", "AAACCCDDDEEEFFFGGG"
MARKED = "A\nREMARK   6 REHEARSAL: made with random parameters. B-factor column: pLDDT"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def find(collection: Path, *targets: list[str], rehearsal: bool = False) -> dict[str, Found]:
    wanted = {sequence_key(chains): chains for chains in targets}
    return lookup([str(collection)], wanted, rehearsal=rehearsal, log=lambda _: None)


def fold(
    folder: Path,
    inputs: dict[str, bytes],
    *targets: list[str],
    recipe: str = "0" * 16,
    rehearsal: bool = False,
) -> tuple[FoldResponse, dict[str, dict[str, bytes]]]:
    """Run a request; the files of each target by the target's chains."""
    request = FoldRequest(
        batch="r0001",
        engine="reuse",
        relax=RelaxSettings(models_to_relax="none"),
        recipe=recipe,
        rehearsal=rehearsal,
        targets=[
            TargetInput(id=f"t{number}", key=sequence_key(chains), chains=chains)
            for number, chains in enumerate(targets)
        ],
    )
    out = folder / "out.tar.zst"
    store = open_store(str(folder / "store"))
    sent = archive.unpack(archive.pack(inputs))
    response = task.run_request(request, sent, out, store=store, weights=None, cache=None, log=lambda _: None)
    files = archive.unpack(out.read_bytes())
    done = {
        ":".join(target.chains): archive.unpack(files[f"targets/{target.result_key}.tar.zst"])
        for target in request.targets
        if f"targets/{target.result_key}.tar.zst" in files
    }
    return response, done


def take(folder: Path, collection: Path, *targets: list[str]) -> dict[str, dict[str, bytes]]:
    found = find(collection, *targets)
    inputs = {name: data for key, one in found.items() for name, data in reuse_inputs(key, one).items()}
    return fold(folder, inputs, *targets, recipe=batch_recipe(found))[1]


def test_what_pdb_cannot_hold_is_taken_as_mmcif(tmp_path: Path) -> None:
    """80 chains; and atoms a micrometre away."""
    many, far = make.model([PROTEIN[:10]] * 10), make.model([PROTEIN])
    for number in range(10, 80):
        chain = many[0][0].clone()
        chain.name = f"{number}x"
        for residue in chain:
            residue.subchain = chain.name
        many[0].add_chain(chain)
    entity = many.entities[0]
    entity.subchains = [chain[0].subchain for chain in many[0]]
    many.entities = gemmi.EntityList([entity])
    for chain in many[0]:
        for residue in chain:
            residue.entity_id = entity.name
    far[0][0][0][0].pos = gemmi.Position(10_000, 0, 0)
    files = {"many.cif": make.cif([], structure=many), "far.cif": make.cif([], structure=far)}
    targets = [[PROTEIN[:10]] * 80, [PROTEIN]]
    found = take(tmp_path, make.folder(tmp_path / "c", files), *targets)
    for chains in targets:
        members = found[":".join(chains)]
        assert "ranked_0.cif" in members and not any(name.endswith(".pdb") for name in members)
        traces = structures.ca_traces(members["ranked_0.cif"].decode())
        assert [trace.sequence for trace in traces] == chains
    theirs = structures.ca_coordinates(files["many.cif"].decode())
    ours = structures.ca_coordinates(found[":".join(targets[0])]["ranked_0.cif"].decode())
    assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("ending", ["cif.gz", "pdb"])
def test_result_says_where_it_is_from(tmp_path: Path, ending: str) -> None:
    name = f"AF-P12345-F1-model_v4.{ending}"
    chains = [PROTEIN, OTHER]
    length = len(PROTEIN) + len(OTHER)
    data = make.cif(chains) if ending == "cif.gz" else make.pdb(chains)
    collection = make.folder(
        tmp_path / "c", {name: data, "AF-P12345-F1-predicted_aligned_error_v4.json": make.pae(length)}
    )
    sha256 = find(collection, chains)[sequence_key(chains)].sha256
    files = take(tmp_path, collection, chains)[":".join(chains)]

    scores = Confidence.model_validate_json(files["confidence.json"])
    assert scores.engine == "reuse"
    assert scores.warnings == [f"Taken from {name}, sha256 {sha256}"]
    assert not scores.rehearsal
    assert scores.chain_lengths == [len(PROTEIN), len(OTHER)]
    assert scores.models[0].plddt == [round(90 - number / 100, 2) for number in range(length)]
    assert (scores.models[0].ptm, scores.models[0].relaxed) == (None, False)
    assert (
        read_pae(files["pae.npz"])[0].tolist() == json.loads(make.pae(length))[0]["predicted_aligned_error"]
    )
    pdb, cif = files["ranked_0.pdb"].decode(), files["ranked_0.cif"].decode()
    remarks = " ".join(line[11:] for line in pdb.splitlines() if line.startswith("REMARK   6"))
    assert f"Taken from {name}, sha256 {sha256}" in remarks
    block = gemmi.cif.read_string(cif).sole_block()
    for item in ("_struct.title", "_software.description"):
        said = [gemmi.cif.as_string(value) for value in block.find_values(item)]
        assert any(f"Taken from {name}, sha256 {sha256}" in text for text in said)
    assert reuse.ENGINE.name in block.find_values("_software.name")
    assert "REHEARSAL" not in pdb + cif
    assert [trace.sequence for trace in structures.ca_traces(cif)] == chains
    theirs = structures.ca_coordinates(data.decode())
    assert np.array_equal(structures.ca_coordinates(pdb), theirs)
    assert "msa.a3m" not in files


def test_results_of_an_earlier_run_are_a_collection(tmp_path: Path) -> None:
    """ranked_0.cif with its PAE is one entry; other ranks and unrelaxed models are none."""
    first = take(tmp_path, make.folder(tmp_path / "c", {"a.cif": make.cif([PROTEIN])}), [PROTEIN])[PROTEIN]
    matrix = np.full((len(PROTEIN),) * 2, 4.5)
    earlier = make.folder(
        tmp_path / "results" / "structures" / "id",
        {
            **first,
            "pae.npz": pae_archive([matrix, matrix + 1]),
            "ranked_1.cif": make.cif([OTHER]),
            "unrelaxed_0.pdb": make.pdb([OTHER]),
            "superposed.pdb": make.pdb([OTHER]),
        },
    ).parent
    found = find(earlier, [PROTEIN], [OTHER])
    assert [Path(one.file).name for one in found.values()] == ["ranked_0.cif"]
    files = take(tmp_path / "second", earlier, [PROTEIN])[PROTEIN]
    assert read_pae(files["pae.npz"])[0].tolist() == matrix.tolist()
    # Alone, its PDB file is as good.
    (earlier / "id" / "ranked_0.cif").unlink()
    assert [Path(one.file).name for one in find(earlier, [PROTEIN]).values()] == ["ranked_0.pdb"]


def test_rehearsal_stays_marked(tmp_path: Path) -> None:
    """In every file; a request that is no rehearsal does not take it, whoever made that request."""
    collection = make.folder(tmp_path / "c", {"a.pdb": make.pdb([PROTEIN], title=MARKED)})
    assert find(collection, [PROTEIN]) == {}
    found = find(collection, [PROTEIN], rehearsal=True)
    inputs = reuse_inputs(sequence_key([PROTEIN]), found[sequence_key([PROTEIN])])
    response, files = fold(tmp_path / "real", inputs, [PROTEIN])
    assert files == {}
    assert "REHEARSAL" in response.outcomes[0].message
    _, files = fold(tmp_path / "rehearsal", inputs, [PROTEIN], rehearsal=True)
    for name in ("ranked_0.pdb", "ranked_0.cif", "ranking_debug.json"):
        assert b"REHEARSAL" in files[PROTEIN][name]
    assert Confidence.model_validate_json(files[PROTEIN]["confidence.json"]).rehearsal
    # And from there it is found as a rehearsal again, as PDB and as mmCIF.
    for name in ("ranked_0.pdb", "ranked_0.cif"):
        again = make.folder(tmp_path / name, {name: files[PROTEIN][name]})
        assert find(again, [PROTEIN]) == {}
        assert len(find(again, [PROTEIN], rehearsal=True)) == 1


def test_file_that_changed_since_the_plan(tmp_path: Path) -> None:
    collection = make.folder(tmp_path / "c", {"a.cif": make.cif([PROTEIN])})
    (found,) = find(collection, [PROTEIN]).values()
    (collection / "a.cif").write_bytes(make.cif([PROTEIN], 80.0))
    with pytest.raises(SnakefoldError, match=r"Changed since .*a\.cif"):
        reuse_inputs("0" * 64, found)
    (collection / "a.cif").unlink()
    with pytest.raises(SnakefoldError, match=r"a\.cif.*cannot be read"):
        reuse_inputs("0" * 64, found)


def test_pae_that_grew_since_the_plan(tmp_path: Path) -> None:
    name = "AF-P12345-F1-predicted_aligned_error_v4.json"
    files = {"AF-P12345-F1-model_v4.cif": make.cif([PROTEIN]), name: make.pae(len(PROTEIN))}
    collection = make.folder(tmp_path / "c", files)
    (found,) = find(collection, [PROTEIN]).values()
    assert reuse_inputs("0" * 64, found)["targets/" + "0" * 64 + "/pae.json"] == make.pae(len(PROTEIN))
    (collection / name).write_bytes(make.pae(len(PROTEIN)) + b" ")
    with pytest.raises(SnakefoldError, match=rf"Changed since .*{name}"):
        reuse_inputs("0" * 64, found)


@pytest.mark.parametrize("spoil", ["structure.cif", "origin.json", "sequence"])
def test_request_that_is_wrong_fails_its_target(tmp_path: Path, spoil: str) -> None:
    collection = make.folder(tmp_path / "c", {"a.cif": make.cif([PROTEIN])})
    (found,) = find(collection, [PROTEIN]).values()
    chains = [OTHER] if spoil == "sequence" else [PROTEIN]
    inputs = reuse_inputs(sequence_key(chains), found)
    if spoil != "sequence":
        inputs[f"targets/{sequence_key(chains)}/{spoil}"] = b"{}"
    response, files = fold(tmp_path, inputs, chains)
    assert (response.outcomes[0].state, files) == ("failed", {})


@pytest.mark.parametrize(
    "pae", [b"", b"[]", b"{", b"[[1]]", make.pae(3), b"PK\x03\x04", b'[{"predicted_aligned_error": [["a"]]}]']
)
def test_bad_pae_costs_a_warning(tmp_path: Path, pae: bytes) -> None:
    files = {"a.cif": make.cif([PROTEIN]), "a-predicted_aligned_error_v0.json": pae}
    taken = take(tmp_path, make.folder(tmp_path / "c", files), [PROTEIN])[PROTEIN]
    assert "pae.npz" not in taken
    assert "PAE" in Confidence.model_validate_json(taken["confidence.json"]).warnings[1]


def test_pae_of_alphafold_db_version_1(tmp_path: Path) -> None:
    length = len(PROTEIN)
    pairs = [(i, j) for i in range(1, length + 1) for j in range(1, length + 1)]
    content = {"residue1": [i for i, _ in pairs], "residue2": [j for _, j in pairs]}
    content["distance"] = [i % 30 + j / 8 for i, j in pairs]
    files = {
        "AF-P1-F1-model_v1.cif": make.cif([PROTEIN]),
        "AF-P1-F1-predicted_aligned_error_v1.json": json.dumps([content]).encode(),
    }
    taken = take(tmp_path, make.folder(tmp_path / "c", files), [PROTEIN])[PROTEIN]
    assert read_pae(taken["pae.npz"])[0][4, 7] == 5 + 1


def test_recipe_follows_the_files() -> None:
    one = Found(collection="c", structure=Place(file="a", size=1), sha256="0" * 64)
    other = one.model_copy(update={"sha256": "1" * 64})
    with_pae = one.model_copy(update={"pae": Place(file="p", size=1)})
    assert len({batch_recipe({"k": each}) for each in (one, other, with_pae)}) == 3


def _plan(tmp_path: Path, *, rehearsal: bool) -> tuple[Config, Draft]:
    fasta = tmp_path / "set.fasta"
    fasta.write_text(f">a\n{PROTEIN}\n>b\n{OTHER}:{OTHER}\n>c\n{PROTEIN}\n>d\n{THIRD}\n>e\n{OTHER}\n")
    collection = make.folder(
        tmp_path / "c",
        {
            "AF-P12345-F1-model_v4.cif.gz": make.cif([PROTEIN]),
            "dimer.pdb": make.pdb([OTHER, OTHER]),
            "e.pdb": make.pdb([OTHER], title=MARKED),
        },
    )
    config = load_config(
        {
            "input": str(fasta),
            "reuse": [str(collection)],
            "store": str(tmp_path / "store"),
            "results": str(tmp_path / "results"),
        }
    )
    named = Recipes(["0" * 16, "1" * 16] * 2, "2" * 16, "3" * 16, [rehearsal] * 4)
    plan = make_plan(
        config, tmp_path / "results" / "plan", name=lambda _: named, store=open_store(config.store)
    )
    return config, plan


def _rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["id"]: row for row in csv.DictReader(stream, delimiter="\t")}


@pytest.mark.parametrize("rehearsal", [False, True])
def test_from_the_plan_to_the_report(tmp_path: Path, *, rehearsal: bool) -> None:
    config, _ = _plan(tmp_path, rehearsal=rehearsal)
    results = tmp_path / "results"
    planned = _rows(results / "plan" / "targets.tsv")
    states = {name: row["state"] for name, row in planned.items()}
    marked = "reused" if rehearsal else "to_do"
    assert states == {"a": "reused", "b": "reused", "c": "duplicate_of", "d": "to_do", "e": marked}
    assert "AF-P12345-F1-model_v4.cif.gz" in planned["a"]["reason"]
    batches = [path.stem for path in sorted((results / "plan" / "batches").glob("r*.json"))]
    assert batches == (["r0001", "r0002"] if rehearsal else ["r0001"])
    tables = []
    for name in batches:
        batch = read_batch(results / "plan", name)
        assert not batch.chunks
        folder = results / "requests" / name
        requests.write_request(batch, config, {}, open_store(config.store), folder)
        request = FoldRequest.model_validate_json((folder / "request.json").read_text())
        assert (request.engine, request.relax.models_to_relax) == ("reuse", "none")
        out = tmp_path / f"{name}.tar.zst"
        inputs = archive.unpack((folder / "inputs.tar.zst").read_bytes())
        store = open_store(config.store)
        task.run_request(request, inputs, out, store=store, weights=None, cache=None, log=lambda _: None)
        tables.append(results / "tables" / f"{name}.parquet")
        collect.collect_batch(
            out, results / "plan" / "batches" / f"{name}.json", results / "structures", tables[-1]
        )
    collect.merge_tables(
        tables, results / "plan" / "targets.tsv", results / "metrics.tsv", results / "failures.tsv"
    )
    metrics = _rows(results / "metrics.tsv")
    assert set(metrics) == {"a", "b", "c"} | ({"e"} if rehearsal else set())
    assert {row["engine"] for row in metrics.values()} == {"reuse"}
    assert {name: row["rehearsal"] for name, row in metrics.items()} == {
        name: str(name == "e") for name in metrics
    }
    assert "Taken from dimer.pdb" in metrics["b"]["warnings"]
    assert metrics["a"]["msa_depth"] == metrics["a"]["ptm"] == ""
    page = report.build(results)
    assert f"{3 if rehearsal else 2} taken from collections" in " ".join(page.read_text().split())
