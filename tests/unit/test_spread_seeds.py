"""Seeds of a target spread over jobs: the plan, the ranking of all parts, and parts that fail."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning import table
from sequence_files import CRN, UBQ, write

from snakefold import engines
from snakefold.config import load_config
from snakefold.engines.alphafold2.settings import told
from snakefold.engines.spec import Parameters
from snakefold.kernel import archive
from snakefold.kernel.contracts import Confidence, FoldResponse, ModelScores, TargetInput, TargetOutcome
from snakefold.kernel.errors import Reason, SnakefoldError
from snakefold.kernel.parquet import read_rows as parquet_rows
from snakefold.kernel.recipes import digest, sequence_key
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.plan import preview
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.cost.model import CostModel
from snakefold.plan.draft import Draft
from snakefold.plan.files import PlannedBatch, PlannedTarget, read_batch, read_rows
from snakefold.plan.groups import Groups, settings_of
from snakefold.plan.planner import make_plan
from snakefold.plan.present import Recipes
from snakefold.plan.records import Records
from snakefold.plan.simulate.cluster import Workload
from snakefold.plan.simulate.prices import prices_of
from snakefold.plan.simulate.source import from_plan
from snakefold.run.collect import collect_batch
from snakefold.run.ranked import ranked_together
from snakefold.run.requests import make_request
from snakefold.run.restore import restore_batch
from snakefold.run.task import pack_response, read_response
from snakefold.run.unfinished import forget
from snakefold.structures.mmcif import with_pae_of

KEY = sequence_key([UBQ])


# ---- the settings of parts ------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["alphafold2", "openfold", "boltz2", "af3"])
@given(st.integers(1, 30), st.integers(1, 12))
def test_parts_have_all_seeds_once(name: str, seeds: int, most: int) -> None:
    engine = engines.get(name)
    settings = engine.Settings(num_seeds=seeds)
    parts = engine.parts(settings, most)
    if seeds <= most:
        assert list(parts) == []
        return

    def of(part: Any) -> list[int]:
        first = getattr(part, "seed", None)
        if first is None:
            return [part.random_seed + each for each in range(part.skip_seeds, part.num_seeds)]
        return list(range(first, first + part.num_seeds))

    assert [seed for part in parts for seed in of(part)] == of(settings)
    assert all(0 < len(of(part)) <= most for part in parts)
    # A part is a run with these seeds: also one by somebody who never heard of parts.
    assert [engine.Settings.model_validate(part.model_dump(mode="json")) for part in parts] == list(parts)


def test_the_first_part_is_the_run_with_as_few_seeds() -> None:
    engine = engines.get("alphafold2")
    first, second = engine.parts(engine.Settings(num_seeds=8), 5)
    few = engine.Settings(num_seeds=5)
    assert told(first) == told(few) != told(second)
    assert first.model_dump() == few.model_dump()
    assert engine.parts(engine.Settings(num_seeds=8, stop_at_score=80), 5) == []
    with pytest.raises(ValueError, match="no seed is left: it must be less than num_seeds"):
        engine.Settings(num_seeds=5, skip_seeds=5)


# ---- the plan ---------------------------------------------------------------------------------------------
def plan(path: Path, folder: Path, store: Store | None = None, **values: Any) -> Draft:
    config = load_config(
        {
            "input": [str(path)],
            "alphafold2": {"num_seeds": 5},
            "batch": {"seeds_per_job": 2},
            "msa": {"tool": "single_sequence"},
            **values,
        }
    )

    def name(records: Records) -> Recipes:
        kinds = records.kinds
        folds = [digest({"place": place}) for place in range(len(kinds))]
        return Recipes(folds=folds, msa="3" * 16, paired_msa="3" * 16, rehearsals=[False] * len(kinds))

    return make_plan(config, folder, name=name, store=store)


def recipe_of_part(draft: Draft, part: int) -> str:
    kinds = draft.records.kinds
    place = kinds.parts[int(draft.records.groups[0])][part]
    return draft.recipes.folds[place]


def test_each_part_has_batches_and_one_waits_for_all(tmp_path: Path) -> None:
    path = write(tmp_path, "set.fasta", f">a\n{UBQ}\n>b\n{CRN}\n>c\n{UBQ}\n")
    made = plan(path, tmp_path / "plan")
    assert made.counts() == {"to_do": 2, "stored": 0, "reused": 0, "duplicate_of": 1, "refused": 0}
    rows = {row.batch: row for row in read_rows(tmp_path / "plan")}
    parts = [row for row in rows.values() if row.gpu]
    assert sorted(str(row.part) for row in parts) == ["0", "1", "2"]
    assert all(row.targets == 2 for row in parts)
    assert rows["s0001"].parts.split(",") == [row.batch for row in parts]
    assert (rows["s0001"].part, rows["s0001"].seconds, rows["s0001"].targets) == (None, 0.0, 2)
    # The last part has one seed, and takes half of what the others take in the network.
    seconds = {row.part: row.seconds for row in parts}
    assert seconds[0] == seconds[1] > seconds[2]
    targets = table(tmp_path / "plan" / "targets.tsv")
    assert [row["batch"] for row in targets] == ["s0001"] * 3
    assert sum(float(row["seconds"]) for row in targets) == pytest.approx(sum(seconds.values()), abs=0.1)
    whole = read_batch(tmp_path / "plan", "s0001")
    assert whole.part_batches == [row.batch for row in parts]
    assert whole.parts == [read_batch(tmp_path / "plan", row.batch).recipe for row in parts]
    assert [each.duplicates for each in whole.targets if each.target.id == "a"] == [["c"]]


def test_requests_of_parts_ask_for_their_seeds(tmp_path: Path) -> None:
    path = write(tmp_path, "set.fasta", f">a\n{UBQ}\n")
    made = plan(path, tmp_path / "plan")
    config = load_config({"alphafold2": {"num_seeds": 5}, "batch": {"seeds_per_job": 2}})
    asked = {}
    for batch in made.batches:
        if batch.gpu:
            request = make_request(read_batch(tmp_path / "plan", batch.name), config)
            asked[batch.name[-2:]] = (request.settings.get("skip_seeds", 0), request.settings["num_seeds"])
    assert asked == {"p1": (0, 2), "p2": (2, 4), "p3": (4, 5)}


def test_stored_parts_are_not_computed(tmp_path: Path) -> None:
    path = write(tmp_path, "set.fasta", f">a\n{UBQ}\n>b\n{CRN}\n")
    store = open_store(tmp_path / "store")
    first = plan(path, tmp_path / "plan", store)
    for part in (0, 2):
        store.put(Entry("fold", recipe_of_part(first, part), KEY), b"result")
    plan(path, tmp_path / "plan", store)
    ids = {
        row.part: [each.target.id for each in read_batch(tmp_path / "plan", row.batch).targets]
        for row in read_rows(tmp_path / "plan")
        if row.gpu
    }
    assert {part: sorted(its) for part, its in ids.items()} == {0: ["b"], 1: ["a", "b"], 2: ["b"]}
    store.put(Entry("fold", recipe_of_part(first, 1), KEY), b"result")
    made = plan(path, tmp_path / "plan", store)
    assert made.counts()["stored"] == made.counts()["to_do"] == 1
    rows = table(tmp_path / "plan" / "targets.tsv")
    assert [row["state"] for row in rows] == ["stored", "to_do"]
    assert rows[0]["reason"] == "all 3 parts of its seeds are in the store"
    assert (rows[0]["seconds"], rows[0]["dollars"]) == ("0.0", "0.0")


def test_a_plan_with_parts_is_simulated_with_the_settings_of_its_run(tmp_path: Path) -> None:
    path = write(tmp_path, "set.fasta", f">a\n{UBQ}\n>b\n{CRN}\n")
    plan(path, tmp_path / "plan")

    def workload(**values: Any) -> Workload:
        config = load_config({"gpu": {"classes": ["local"]}, **values})
        classes = {gpu.name: gpu for gpu in load_classes(["local"])}
        return from_plan(tmp_path / "plan", prices_of(config, CostModel(), classes, rehearsal=False))

    found = workload(alphafold2={"num_seeds": 5}, batch={"seeds_per_job": 2})
    assert (len(found.jobs), found.targets, found.residues) == (3, 2, len(UBQ) + len(CRN))
    with pytest.raises(SnakefoldError, match=r"Give those of the run: --set batch\.seeds_per_job=N"):
        workload()


def test_the_price_that_is_asked_for_knows_which_parts_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "store")
    first = plan(write(tmp_path, "set.fasta", f">a\n{UBQ}\n"), tmp_path / "plan", store)
    store.put(Entry("fold", recipe_of_part(first, 0), KEY), b"result")
    monkeypatch.setattr(preview, "find_parameters", lambda *_, **__: {"alphafold2": Parameters()})

    def recipes(*given: Any, **_: Any) -> dict[str, Any]:
        return {"folds": [{"place": place} for place in range(len(given[3]))], "msa": {}, "paired_msa": {}}

    monkeypatch.setattr(preview, "recipes_of", recipes)
    config = load_config(
        {
            "input": [str(tmp_path / "set.fasta")],
            "alphafold2": {"num_seeds": 5},
            "batch": {"seeds_per_job": 2},
            "msa": {"tool": "single_sequence"},
            "store": str(tmp_path / "store"),
            "results": str(tmp_path / "results"),
        }
    )
    quote = preview.preview(config, tmp_path / "quote", print)
    assert (quote.targets["to_do"], quote.batches) == (1, 2)


def test_many_models_are_ranked_in_batches_that_an_archive_holds(tmp_path: Path) -> None:
    long = "".join("ACDEFGHIKLMNPQRSTVWY"[(7 * n + n // 20) % 20] for n in range(900))
    records = "".join(f">t{n}\n{long[n:]}\n" for n in range(40))
    path = write(tmp_path, "set.fasta", records)
    plan(path, tmp_path / "plan", alphafold2={"num_seeds": 100}, batch={"seeds_per_job": 25})
    ranked = [row for row in read_rows(tmp_path / "plan") if row.parts]
    assert len(ranked) > 1 and sum(row.targets for row in ranked) == 40
    plan(path, tmp_path / "few", alphafold2={"num_seeds": 2}, batch={"seeds_per_job": 1})
    assert len([row for row in read_rows(tmp_path / "few") if row.parts]) == 1


def test_a_whole_result_in_the_store_needs_no_parts(tmp_path: Path) -> None:
    path = write(tmp_path, "set.fasta", f">a\n{UBQ}\n")
    store = open_store(tmp_path / "store")
    first = plan(path, tmp_path / "plan", store)
    store.put(Entry("fold", first.recipes.folds[int(first.records.groups[0])], KEY), b"result")
    made = plan(path, tmp_path / "plan", store)
    (row,) = read_rows(tmp_path / "plan")
    assert (row.batch, row.parts, made.counts()["stored"]) == ("s0001", "", 1)


def test_few_seeds_and_rehearsals_with_few_are_not_spread() -> None:
    config = load_config({"alphafold2": {"num_seeds": 2}, "batch": {"seeds_per_job": 2}})
    assert Groups(config).parts == {}
    # A rehearsal of Boltz has two seeds at the most.
    config = load_config({"engine": "boltz2", "boltz2": {"num_seeds": 6}, "batch": {"seeds_per_job": 2}})
    kinds = Groups(config)
    assert all(len(kinds.needed_parts(number, rehearsal=False)) == 3 for number in kinds.parts)
    assert all(kinds.needed_parts(number, rehearsal=True) == [] for number in kinds.parts)
    engine = engines.get("boltz2")
    assert settings_of(config, engine, rehearsal=False, part=2).num_seeds == 2


# ---- the ranking of all parts -----------------------------------------------------------------------------
def files_of(
    scores: Sequence[float], first: int = 0, more: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """Files of a part with these scores of its seeds, ranked as a job ranks them."""
    order = sorted(range(len(scores)), key=lambda seed: -scores[seed])
    models = [
        ModelScores(
            name=f"model_1_pred_{first + seed}",
            plddt=[50.0] * 2,
            mean_plddt=50.0,
            ranking_confidence=round(scores[seed], 2),
            seed=first + seed,
        )
        for seed in order
    ]
    told = Confidence(key=KEY, engine="alphafold2", rehearsal=True, chain_lengths=[2], models=models)
    arrays: dict[str, Any] = {
        f"rank_{rank}": np.full((2, 2), first + seed, dtype=np.uint8) for rank, seed in enumerate(order)
    }
    pae = io.BytesIO()
    np.savez_compressed(pae, **arrays)
    ranking = {
        "plddts": {model.name: scores[model.seed - first] for model in models},
        "order": [model.name for model in models],
    }
    files = {f"ranked_{rank}.pdb": f"END seed {first + seed}\n".encode() for rank, seed in enumerate(order)}
    return {
        **files,
        "confidence.json": told.model_dump_json().encode(),
        "ranking_debug.json": json.dumps(ranking).encode(),
        "pae.npz": pae.getvalue(),
        "timings.json": json.dumps({"predict": 2.5, "msa": 7.0}).encode(),
        **(more or {}),
    }


@given(st.lists(st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=4), min_size=1, max_size=5))
def test_ranks_are_those_of_one_job_with_all_seeds(scores: list[list[float]]) -> None:
    parts, first = [], 0
    for each in scores:
        parts.append(files_of(each, first))
        first += len(each)
    whole = files_of([score for each in scores for score in each])
    found = ranked_together(parts)
    assert set(found) == set(whole)
    for name in whole:
        if name == "pae.npz":
            with np.load(io.BytesIO(found[name])) as one, np.load(io.BytesIO(whole[name])) as other:
                assert one.files == other.files
                assert all(np.array_equal(one[rank], other[rank]) for rank in one.files)
        elif name == "timings.json":
            assert json.loads(found[name]) == {"predict": 2.5 * len(scores), "msa": 7.0}
        elif name.endswith(".json"):
            assert json.loads(found[name]) == json.loads(whole[name])
        else:
            assert found[name] == whole[name]


def test_files_of_models_are_joined_and_others_are_those_of_the_best() -> None:
    index = [{"models": {f"m{part}": {"file": f"{part}.npy"}}, "REHEARSAL": True} for part in range(2)]
    more = [
        {
            "representations.json": json.dumps(index[part]).encode(),
            f"single_repr_m{part}.npy": bytes([part]),
            "affinity.json": json.dumps({"chains": {"L": {"value": part}}}).encode(),
            "notes.txt": f"of part {part}".encode(),
            "msa.a3m": b">q\nAC\n",
        }
        for part in range(2)
    ]
    found = ranked_together([files_of([10.0], 0, more[0]), files_of([20.0], 1, more[1])])
    both = {"m0": {"file": "0.npy"}, "m1": {"file": "1.npy"}}
    assert json.loads(found["representations.json"]) == {"models": both, "REHEARSAL": True}
    assert {"single_repr_m0.npy", "single_repr_m1.npy", "msa.a3m"} < set(found)
    # Both say something else of the same, and the second has the best model.
    assert json.loads(found["affinity.json"])["chains"]["L"]["value"] == 1
    assert found["notes.txt"] == b"of part 1"


def test_models_of_one_name_are_refused() -> None:
    with pytest.raises(SnakefoldError, match="model_1_pred_0: models of several parts"):
        ranked_together([files_of([1.0]), files_of([2.0])])


def test_a_file_of_a_model_says_where_its_pae_is() -> None:
    text = "_ma_associated_archive_file_details.details\n'PAE in units of 0.125 A: array rank_1' .\n"
    assert with_pae_of(text, "rank_1", "rank_12") == text.replace("rank_1'", "rank_12'")
    assert with_pae_of(text, "rank_11", "rank_2") == text


# ---- parts that are not there -----------------------------------------------------------------------------
RECIPES = ["1" * 16, "2" * 16]


def planned() -> PlannedBatch:
    target = TargetInput(id="a", key=KEY, chains=[UBQ])
    return PlannedBatch(
        batch="s0001",
        engine="alphafold2",
        recipe="0" * 16,
        msa_recipes={},
        rehearsal=True,
        chunks=[],
        parts=RECIPES,
        part_batches=["b0001-l0076-p1", "b0002-l0076-p2"],
        targets=[PlannedTarget(target=target)],
    )


def answer(folder: Path, part: int, data: bytes | None, device: str = "", **told: Any) -> Path:
    """The archive of a job that predicted a part."""
    path = folder / f"b{part + 1:04d}-l0076-p{part + 1}.tar.zst"
    outcome = TargetOutcome(
        id="a", key=KEY, result_key=KEY, state="done" if data else "failed", seconds=2.0, **told
    )
    response = FoldResponse(
        batch=path.name.removesuffix(".tar.zst"),
        engine="alphafold2",
        engine_version="1",
        recipe=RECIPES[part],
        rehearsal=True,
        outcomes=[outcome],
        device=device,
    )
    path.write_bytes(pack_response(response, {KEY: data} if data else {}))
    return path


def test_results_are_taken_from_the_store_or_from_what_the_jobs_brought(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    parts = [archive.pack(files_of([10.0], 0)), archive.pack(files_of([20.0], 1))]
    store.put(Entry("fold", RECIPES[0], KEY), parts[0])
    out = tmp_path / "s0001.tar.zst"
    # The store took nothing of the second.
    response = restore_batch(planned(), store, out, print, [answer(tmp_path, 1, parts[1])])
    (outcome,) = response.outcomes
    assert (outcome.state, outcome.stored, outcome.seconds) == ("done", False, 2.0)
    files = archive.unpack(out.read_bytes())
    assert read_response(files) == response
    found = archive.unpack(files[f"targets/{KEY}.tar.zst"])
    assert [found[f"ranked_{rank}.pdb"] for rank in range(2)] == [b"END seed 1\n", b"END seed 0\n"]
    # Nothing is stored under the name of a result that one job makes: its files differ in what was relaxed.
    assert not store.has(Entry("fold", "0" * 16, KEY))
    store.put(Entry("fold", RECIPES[1], KEY), parts[1])
    (outcome,) = restore_batch(planned(), store, out, print).outcomes
    assert (outcome.state, outcome.stored) == ("done", True)


def test_a_part_on_a_cpu_is_said_where_a_gpu_was_planned(tmp_path: Path) -> None:
    store, plans = open_store(tmp_path / "store"), tmp_path / "plan"
    plans.mkdir()
    archives = []
    for part, device in enumerate(("NVIDIA A100", "cpu")):
        archives.append(answer(tmp_path, part, archive.pack(files_of([10.0 + part], part)), device=device))
        name = planned().part_batches[part]
        whole = planned().model_copy(
            update={"batch": name, "gpu": "ampere_80", "parts": [], "part_batches": []}
        )
        (plans / f"{name}.json").write_text(whole.model_dump_json())
    (plans / "s0001.json").write_text(planned().model_dump_json())
    out = tmp_path / "s0001.tar.zst"
    restore_batch(planned(), store, out, print, archives)
    collect_batch(out, plans / "s0001.json", tmp_path / "structures", tmp_path / "s0001.parquet")
    (row,) = parquet_rows(tmp_path / "s0001.parquet")
    assert "predicted_on_cpu: planned for 80 GB A100" in row["warnings"]


def test_a_part_that_failed_fails_its_target_and_is_forgotten(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for folder in ("predictions", "plan/batches", "tables"):
        (results / folder).mkdir(parents=True)
    store = open_store(tmp_path / "store")
    done = answer(results / "predictions", 0, archive.pack(files_of([10.0])))
    failed = answer(
        results / "predictions",
        1,
        None,
        reason=Reason.OUT_OF_MEMORY,
        message="40 GB are too few.",
        advice="Buy.",
    )
    out = results / "predictions" / "s0001.tar.zst"
    (outcome,) = restore_batch(planned(), store, out, print, [done, failed]).outcomes
    assert (outcome.state, outcome.reason) == ("failed", Reason.OUT_OF_MEMORY)
    assert outcome.message == "Part 2 of 2 of its seeds: 40 GB are too few."
    assert outcome.advice == "Buy."
    (results / "plan" / "batches" / "s0001.json").write_text(planned().model_dump_json())
    forget(results, "s0001")
    assert not list((results / "predictions").iterdir())


def test_a_part_that_is_gone_is_lost(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    (outcome,) = restore_batch(planned(), store, tmp_path / "s0001.tar.zst", print).outcomes
    assert (outcome.state, outcome.reason) == ("failed", Reason.LOST)
