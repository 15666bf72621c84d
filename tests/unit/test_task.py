"""What `task.run_request` promises: one target's fate is its own, and nothing is computed twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from snakefold import archive, engines, task
from snakefold.collect import collect_batch, read_response
from snakefold.contracts import FoldRequest, FoldResponse, RelaxChoice, RelaxSettings, TargetInput
from snakefold.engines.base import Prediction, TargetMsas
from snakefold.errors import ADVICE, Reason, TargetError, WeightsMissingError
from snakefold.plan.files import PlannedBatch, PlannedTarget
from snakefold.recipes import sequence_key
from snakefold.relax import Relaxed
from snakefold.store import Entry, open_store


def atom(number: int, name: str, residue: int, x: float) -> str:
    return (
        f"ATOM  {number:5d}  {name:<3s} ALA A{residue:4d}    {x:8.3f}{0.0:8.3f}{0.0:8.3f}"
        f"  1.00 50.00           {name[0]}  "
    )


def chain_pdb(length: int) -> str:
    lines = [atom(index + 1, "CA", index + 1, 3.8 * index) for index in range(length)]
    return "\n".join([*lines, "TER", "END", ""])


@dataclass
class LineEngine:
    """An engine whose structures are straight lines: fast, so that only the bookkeeping is tested."""

    NAME: str = "line"
    VERSION: str = "1"
    behaviour: dict[str, Any] = field(default_factory=dict)
    predicted: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    device: str = "none"

    def check(self, target: TargetInput) -> None:
        pass

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


def run(tmp_path: Path, *without: str, relax: RelaxSettings = UNRELAXED) -> FoldResponse:
    return task.run_request(
        request().model_copy(update={"relax": relax}),
        inputs(*without),
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
    planned = PlannedBatch(
        batch="b1",
        engine="alphafold2",
        recipe="0" * 16,
        msa_recipes={},
        rehearsal=True,
        chunks=[],
        targets=[PlannedTarget(target=each) for each in TARGETS],
    )
    (tmp_path / "b1.json").write_text(planned.model_dump_json())
    table = tmp_path / "b1.parquet"
    collect_batch(tmp_path / "out.tar.zst", tmp_path / "b1.json", tmp_path / "structures", table)
    advice = pd.read_parquet(table).set_index("id")["advice"]
    assert (advice["a"], advice["b"]) == (ADVICE[Reason.INTERNAL], "Its own.")
    assert set(ADVICE) | {Reason.RELAX_FAILED} == set(Reason)  # a failed relaxation costs no structure


def test_failed_msa_fails_its_target_only(tmp_path: Path, engine: LineEngine) -> None:
    response = run(tmp_path, "a")
    assert states(response) == {"a": "msa_failed", "b": "done", "c": "done"}
    assert response.outcomes[0].message == "the search died"
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
    engine.device = device
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
