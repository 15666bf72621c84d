"""What `task.run_request` promises: one target's fate is its own, and nothing is computed twice."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from snakefold import engines
from snakefold.engines.alphafold2.cost import AlphaFold2Work
from snakefold.engines.spec import Defaults, Needs, Result, TargetMsas
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, FoldResponse, RelaxChoice, RelaxSettings, TargetInput
from snakefold.kernel.errors import ADVICE, DiskError, Reason, StoreError, TargetError, WeightsMissingError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, Store, at_work, open_store
from snakefold.kernel.store.folder import FolderStore
from snakefold.plan.files import PlannedBatch, PlannedTarget
from snakefold.run import task
from snakefold.run.collect import collect_batch, read_response
from snakefold.structures.prediction import Prediction
from snakefold.structures.relax import Relaxed


def atom(number: int, name: str, residue: int, x: float) -> str:
    return (
        f"ATOM  {number:5d}  {name:<3s} ALA A{residue:4d}    {x:8.3f}{0.0:8.3f}{0.0:8.3f}"
        f"  1.00 50.00           {name[0]}  "
    )


def chain_pdb(length: int) -> str:
    lines = [atom(index + 1, "CA", index + 1, 3.8 * index) for index in range(length)]
    return "\n".join([*lines, "TER", "END", ""])


@dataclass
class LineEngine(Defaults):
    """An engine whose structures are straight lines: fast, so that only the bookkeeping is tested."""

    name: str = "line"
    version: str = "1"
    behaviour: dict[str, Any] = field(default_factory=dict)
    predicted: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    device: str = "none"

    def needs(self, group: str, settings: Any) -> Needs:
        return Needs(alignment=True)

    def work(self, *_: Any, **__: Any) -> AlphaFold2Work:
        return AlphaFold2Work()

    def start(
        self, request: FoldRequest, msas: Mapping[str, TargetMsas], weights: Any, cache: Any
    ) -> LineEngine:
        if "start" in self.behaviour:
            raise self.behaviour["start"]
        return self

    def predict(self, target: TargetInput, msas: TargetMsas) -> list[Prediction]:
        self.predicted.append(target.id)
        if target.id in self.behaviour:
            raise self.behaviour[target.id]
        plddt = np.full(target.length, 50.0)
        return [Prediction("model_1_pred_0", chain_pdb(target.length), plddt, 50.0)]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> LineEngine:
    line = LineEngine()
    monkeypatch.setattr(engines, "get", lambda name: line)
    return line


def target(name: str, sequence: str) -> TargetInput:
    return TargetInput(id=name, key=sequence_key([sequence]), chains=[sequence])


UNRELAXED = RelaxSettings(models_to_relax=RelaxChoice.NONE)
TARGETS = [target("a", "A" * 5), target("b", "A" * 6), target("c", "A" * 7)]


def request() -> FoldRequest:
    return FoldRequest(
        batch="b1",
        engine="alphafold2",
        recipe="0" * 16,
        rehearsal=True,
        targets=TARGETS,
    )


def inputs(*without: str) -> dict[str, bytes]:
    files = {}
    for item in TARGETS:
        if item.id in without:
            files[f"chains/{item.key}/failed.json"] = b'{"message": "the search died"}'
        else:
            files[f"chains/{item.key}/msa.a3m"] = f">q\n{item.chains[0]}\n".encode()
    return files


def run(
    tmp_path: Path,
    *without: str,
    relax: RelaxSettings = UNRELAXED,
    files: dict[str, bytes] | None = None,
) -> FoldResponse:
    return task.run_request(
        request().model_copy(update={"relax": relax}),
        inputs(*without) if files is None else files,
        tmp_path / "out.tar.zst",
        store=open_store(tmp_path / "store"),
        weights=None,
        cache=None,
        log=lambda line: None,
    )


def states(response: FoldResponse) -> dict[str, str]:
    return {outcome.id: str(outcome.reason or outcome.state) for outcome in response.outcomes}


def test_archive_holds_every_finished_target(tmp_path: Path, engine: LineEngine) -> None:
    response = run(tmp_path)
    files = archive.unpack((tmp_path / "out.tar.zst").read_bytes())
    assert read_response(files) == response
    for outcome in response.outcomes:
        members = archive.unpack(files[f"targets/{outcome.result_key}.tar.zst"])
        assert {"ranked_0.pdb", "ranked_0.cif", "confidence.json", "ranking_debug.json"} <= set(members)
        assert b"REHEARSAL" in members["ranked_0.pdb"]


def test_second_run_predicts_nothing(tmp_path: Path, engine: LineEngine) -> None:
    run(tmp_path)
    engine.predicted.clear()
    response = run(tmp_path)
    assert engine.predicted == []
    assert all(outcome.stored for outcome in response.outcomes)


def test_what_was_computed_otherwise_than_planned_is_delivered_and_not_stored(
    tmp_path: Path, engine: LineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store names results by what the plan said of them."""
    models = engine.predict

    def predict(one: TargetInput, msas: TargetMsas) -> Result:
        told = {"kernels": "stock"}
        return Result(models(one, msas), scores=told, ran=told, notes=["n: b"], as_planned=one.id != "b")

    monkeypatch.setattr(engine, "predict", predict)
    response = run(tmp_path)
    assert set(states(response).values()) == {"done"}
    files = archive.unpack((tmp_path / "out.tar.zst").read_bytes())
    store = open_store(tmp_path / "store")
    for outcome in response.outcomes:
        members = archive.unpack(files[f"targets/{outcome.result_key}.tar.zst"])
        told = json.loads(members["confidence.json"])
        assert (told["scores"], told["warnings"]) == ({"kernels": "stock"}, ["n: b"])
        assert re.search(rb"\bkernels\b.*\bstock\b", members["ranked_0.cif"])
        assert store.has(Entry("fold", "0" * 16, outcome.result_key)) == (outcome.id != "b")
        assert not outcome.unstored, "nothing may put it there later"
    engine.predicted.clear()
    run(tmp_path)
    assert engine.predicted == ["b"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TargetError(Reason.OUT_OF_MEMORY, "too long"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (ValueError("a defect"), "internal"),
    ],
)
def test_failing_target_leaves_the_others_alone(
    tmp_path: Path, engine: LineEngine, error: Exception, reason: str
) -> None:
    engine.behaviour["b"] = error
    assert states(run(tmp_path)) == {"a": "done", "b": reason, "c": "done"}


def test_a_failure_that_gives_no_advice_gets_that_of_its_reason(tmp_path: Path, engine: LineEngine) -> None:
    engine.behaviour["a"] = ValueError("a defect")
    engine.behaviour["b"] = TargetError(Reason.OUT_OF_MEMORY, "too long", "Its own.")
    run(tmp_path)
    table = tmp_path / "b1.parquet"
    collect_batch(tmp_path / "out.tar.zst", plan_of(tmp_path), tmp_path / "structures", table)
    advice = pd.read_parquet(table).set_index("id")["advice"]
    assert (advice["a"], advice["b"]) == (ADVICE[Reason.INTERNAL], "Its own.")
    assert set(ADVICE) | {Reason.RELAX_FAILED} == set(Reason)  # a failed relaxation costs no structure


def test_failed_msa_fails_its_target_only(tmp_path: Path, engine: LineEngine) -> None:
    response = run(tmp_path, "a")
    assert states(response) == {"a": "msa_failed", "b": "done", "c": "done"}
    assert response.outcomes[0].message == "the search died"
    assert engine.predicted == ["b", "c"]


def test_a_lost_alignment_is_told_as_lost(tmp_path: Path, engine: LineEngine) -> None:
    files = inputs("a")
    (name,) = (name for name in files if name.endswith("failed.json"))
    files[name] = b'{"message": "gone", "reason": "lost"}'
    (outcome, *_) = run(tmp_path, files=files).outcomes
    assert (outcome.id, outcome.reason, outcome.message) == ("a", "lost", "gone")
    assert engine.predicted == ["b", "c"]


def test_engine_that_cannot_start_fails_all_with_the_reason(tmp_path: Path, engine: LineEngine) -> None:
    engine.behaviour["start"] = WeightsMissingError("no params_model_1.npz")
    assert set(states(run(tmp_path)).values()) == {"weights_missing"}


def test_interrupt_keeps_what_is_finished_and_blames_nobody(tmp_path: Path, engine: LineEngine) -> None:
    engine.behaviour["b"] = KeyboardInterrupt()
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert engine.predicted == ["a", "b", "b", "b", "b", "b"]
    assert not (tmp_path / "out.tar.zst").exists()
    del engine.behaviour["b"]
    assert set(states(run(tmp_path)).values()) == {"done"}


def test_target_that_kills_its_process_is_given_up(tmp_path: Path, engine: LineEngine) -> None:
    """A killed process cannot clean up: its attempts stay in the store; after three the target is lost."""
    store = open_store(tmp_path / "store")
    store.put(Entry("attempt", "0" * 16, TARGETS[1].result_key), b'{"count": 3}')
    assert states(run(tmp_path)) == {"a": "done", "b": "lost", "c": "done"}
    assert engine.predicted == ["a", "c"]


@pytest.mark.parametrize(
    ("choice", "device", "noted"),
    [("auto", "NVIDIA L4", True), (False, "NVIDIA L4", False), ("auto", "CPU", False)],
)
def test_relaxation_on_a_cpu_beside_a_gpu_is_noted(
    tmp_path: Path,
    engine: LineEngine,
    monkeypatch: pytest.MonkeyPatch,
    *,
    choice: bool | Literal["auto"],
    device: str,
    noted: bool,
) -> None:
    engine.device, engine.relaxes = device, True
    monkeypatch.setattr(task.relax, "cuda_works", lambda: False)
    monkeypatch.setattr(task.relax, "relax", lambda pdb, _: Relaxed(pdb, 0, 0, 0, 0, 0))
    relaxed = RelaxSettings(models_to_relax=RelaxChoice.BEST, use_gpu_relax=choice)
    run(tmp_path, relax=relaxed)
    files = archive.unpack((tmp_path / "out.tar.zst").read_bytes())
    (first, *_) = (content for name, content in files.items() if name.startswith("targets/"))
    warnings = json.loads(archive.unpack(first)["confidence.json"])["warnings"]
    assert [text.partition(":")[0] for text in warnings] == (["relax_on_cpu"] if noted else [])


def test_damaged_store_entry_is_computed_again(tmp_path: Path, engine: LineEngine) -> None:
    run(tmp_path)
    store = open_store(tmp_path / "store")
    store.path(Entry("fold", "0" * 16, TARGETS[0].result_key)).write_bytes(b"damage")
    engine.predicted.clear()
    assert set(states(run(tmp_path)).values()) == {"done"}
    assert engine.predicted == ["a"]
    assert list((tmp_path / "store" / "damaged").iterdir())


class LeavingStore(FolderStore):
    """A store that takes `most` results, and then nothing, counters included, until it is `back`."""

    def __init__(self, root: Path, most: int) -> None:
        super().__init__(root)
        self.most, self.back = most, False

    def put(self, entry: Entry, data: bytes) -> None:
        if len(self.keys("fold", "0" * 16)) >= self.most and not self.back:
            raise StoreError("The server cannot be reached.")
        super().put(entry, data)

    def remove(self, entry: Entry) -> None:
        if len(self.keys("fold", "0" * 16)) >= self.most and not self.back:
            raise StoreError("The server cannot be reached.")
        super().remove(entry)


def run_with(store: Store, out: Path) -> FoldResponse:
    asked = request().model_copy(update={"relax": UNRELAXED})
    return task.run_request(
        asked, inputs(), out, store=store, weights=None, cache=None, log=lambda line: None
    )


def plan_of(folder: Path) -> Path:
    planned = PlannedBatch(
        batch="b1",
        engine="alphafold2",
        recipe="0" * 16,
        msa_recipes={},
        rehearsal=True,
        chunks=[],
        targets=[PlannedTarget(target=each) for each in TARGETS],
    )
    (folder / "b1.json").write_text(planned.model_dump_json())
    return folder / "b1.json"


def test_a_store_that_goes_away_takes_no_result_with_it(tmp_path: Path, engine: LineEngine) -> None:
    store, out = LeavingStore(tmp_path / "store", 1), tmp_path / "predictions" / "b1.tar.zst"
    response = run_with(store, out)
    assert [(each.id, each.state, each.unstored) for each in response.outcomes] == [
        ("a", "done", False),
        ("b", "done", True),
        ("c", "done", True),
    ]
    files = archive.unpack(out.read_bytes())
    assert {f"targets/{each.result_key}.tar.zst" for each in response.outcomes} <= set(files)
    assert read_response(files) == response
    assert b"unstored" not in files["response.json"], "readers of version 1 refuse what they do not know"
    table = tmp_path / "tables" / "b1.parquet"
    collect = partial(collect_batch, out, plan_of(tmp_path), tmp_path / "structures", table)
    collect(store=lambda: store)
    warnings = pd.read_parquet(table).set_index("id")["warnings"]
    assert ["not_stored" in warnings[name] for name in "abc"] == [False, True, True]
    store.back = True
    collect(store=lambda: store)
    assert store.keys("fold", "0" * 16) == {each.key for each in TARGETS}
    assert "not_stored" not in "".join(pd.read_parquet(table)["warnings"])
    assert not FolderStore(out.parent / ".unstored").keys("fold", "0" * 16)


def test_a_process_that_dies_while_the_store_is_away_computes_nothing_twice(
    tmp_path: Path, engine: LineEngine
) -> None:
    store, out = LeavingStore(tmp_path / "store", 1), tmp_path / "b1.tar.zst"
    engine.behaviour["c"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):  # and not the StoreError of cleaning up
        run_with(store, out)
    del engine.behaviour["c"]
    with pytest.raises(StoreError):
        run_with(store, out)
    assert engine.predicted == ["a", "b", "c"], "nothing is computed while the store is known to be away"
    store.back = True
    assert states(run_with(store, out)) == {"a": "done", "b": "done", "c": "done"}
    assert engine.predicted == ["a", "b", "c", "c"]
    assert store.keys("fold", "0" * 16) == {each.key for each in TARGETS}


def test_a_store_that_takes_nothing_at_all_starts_nothing(tmp_path: Path, engine: LineEngine) -> None:
    with pytest.raises(StoreError, match="cannot be reached"):
        run_with(LeavingStore(tmp_path / "store", 0), tmp_path / "b1.tar.zst")
    assert engine.predicted == []


@pytest.mark.needs("root")
def test_a_disk_that_fills_up_keeps_what_is_done(
    tmp_path: Path, engine: LineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for the first target: the others are not computed, for they could not be kept."""
    monkeypatch.setattr(task, "_MARGIN", 200_000)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        free = shutil.disk_usage(small).free
        (small / "ballast").write_bytes(bytes(free - 230_000))
        predict = engine.predict

        def fill(target: TargetInput, msas: TargetMsas) -> list[Prediction]:
            (small / f"log of {target.id}").write_bytes(bytes(20_000))
            return predict(target, msas)

        engine.predict = fill  # type: ignore[method-assign]
        response = run_with(FolderStore(tmp_path / "store"), small / "b1.tar.zst")
        assert states(response) == {"a": "done", "b": "no_space", "c": "no_space"}
        assert f"{small}: the disk is full" in response.outcomes[1].message
        assert read_response(archive.unpack((small / "b1.tar.zst").read_bytes())) == response
        (small / "ballast2").write_bytes(bytes(150_000))
        with pytest.raises(DiskError, match="the disk is full"):
            run_with(FolderStore(tmp_path / "other"), small / "b1.tar.zst")
    finally:
        subprocess.run(["umount", small], check=True)
    assert engine.predicted == ["a"]


def computing(store: Path, key: str, code: str) -> subprocess.Popen[bytes]:
    """Another process that is at work on a target; it says so before it goes on."""
    program = (
        "import sys, time; from pathlib import Path\n"
        "from snakefold.kernel.store import Entry, at_work, open_store\n"
        "store, key = open_store(Path(sys.argv[1])), sys.argv[2]\n"
        "with at_work(store, Entry('fold', '0' * 16, key)) as free:\n"
        "    print(free, flush=True)\n"
        f"    {code}\n"
    )
    words = [sys.executable, "-c", program, str(store), key]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"True\n"
    return process


def test_what_another_process_computes_is_taken_from_the_store(tmp_path: Path, engine: LineEngine) -> None:
    told: list[str] = []
    place = tmp_path / "store"
    store = open_store(place)
    key = TARGETS[0].result_key
    code = "sys.stdin.read(1); store.put(Entry('fold', '0' * 16, key), b'theirs')"
    with computing(place, key, code) as other:

        def log(line: str) -> None:
            told.append(line)
            if len(engine.predicted) == 2 and other.stdin is not None and not other.stdin.closed:
                other.stdin.write(b"x")  # it ends once nothing else is left to do here
                other.stdin.close()

        response = task.run_request(
            request(), inputs(), tmp_path / "b1.tar.zst", store=store, weights=None, cache=None, log=log
        )
    assert engine.predicted == ["b", "c"]
    assert [outcome.stored for outcome in response.outcomes] == [True, False, False]
    assert any("a: another process computes it; it comes last" in line for line in told)
    results = archive.unpack((tmp_path / "b1.tar.zst").read_bytes())
    assert results[f"targets/{key}.tar.zst"] == b"theirs"
    assert list((place / "at-work").iterdir()) == []
    assert {listed.entry.kind for listed in store.listing()} == {"fold"}


def test_what_a_killed_process_was_at_is_computed(tmp_path: Path, engine: LineEngine) -> None:
    store = open_store(tmp_path / "store")
    with computing(tmp_path / "store", TARGETS[0].result_key, "time.sleep(60)") as other:
        with at_work(store, Entry("fold", "0" * 16, TARGETS[0].result_key)) as free:
            assert not free
        other.kill()
    response = task.run_request(
        request(), inputs(), tmp_path / "b1.tar.zst", store=store, weights=None, cache=None, log=print
    )
    assert engine.predicted == ["a", "b", "c"]
    assert {outcome.state for outcome in response.outcomes} == {"done"}


def test_where_there_are_no_locks_everybody_works(tmp_path: Path) -> None:
    (tmp_path / "at-work").write_text("no folder")
    store, entry = open_store(tmp_path), Entry("fold", "0" * 16, "1" * 64)
    with at_work(store, entry) as first, at_work(store, entry) as second:
        assert first and second
