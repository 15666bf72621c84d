"""A worker with other parameters, or another release, than the plan assumed refuses: its results would be
stored under a name that says something else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snakefold import engines
from snakefold.config import Config
from snakefold.engines.agreement import agreed, check_agreement
from snakefold.engines.alphafold2 import rehearsal
from snakefold.engines.alphafold2.parameters import parameters_file
from snakefold.engines.spec import settings_of
from snakefold.kernel.contracts import FoldRequest
from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.store import open_store
from snakefold.plan.files import read_batch, read_rows
from snakefold.plan.run import plan_run
from snakefold.run import task
from snakefold.run.requests import make_request
from tests.worker.conftest import BLOCKS, SEQUENCES, data_of, envelope, fold_request, told

Worker = Callable[..., dict[str, Any]]


@pytest.fixture
def planned(tmp_path: Path, parameters: Path, monkeypatch: pytest.MonkeyPatch) -> FoldRequest:
    """The request of a plan whose parameters are those of the worker's fixture."""
    monkeypatch.chdir(tmp_path)
    Path("a.fasta").write_text(f">a\n{SEQUENCES['a']}\n")
    config = Config.model_validate(
        {
            "input": "a.fasta",
            "weights": str(parameters),
            "alphafold2": {"models": [1]},
            "msa": {"tool": "single_sequence"},
            "rehearsal": {"models": [1], "num_recycle": 0, "blocks": BLOCKS},
            "relax": {"models_to_relax": "none"},
            "store": str(tmp_path / "store"),
        }
    )
    plan_run(config, tmp_path / "plan", lambda _: None)
    (row,) = [row for row in read_rows(tmp_path / "plan") if row.gpu or row.engine == "alphafold2"]
    return make_request(read_batch(tmp_path / "plan", row.batch), config)


def other(folder: Path) -> Path:
    """Random parameters of fewer blocks."""
    rehearsal.draw(folder, ["model_1_ptm"], BLOCKS - 1)
    return folder


def toy_parameters(folder: Path, value: float) -> Path:
    """Files that are official as far as their names and marks go."""
    (folder / "params").mkdir(parents=True)
    np.savez(parameters_file(folder, "model_1_ptm"), x=np.full(8, value))
    return folder


def test_a_plan_tells_what_its_recipe_was_made_of(planned: FoldRequest, parameters: Path) -> None:
    assert planned.engine_recipe["weights"] == {
        "rehearsal": True,
        "blocks": BLOCKS,
        "seed": rehearsal.SEED,
        "drawing": rehearsal.DRAWING,
    }
    assert planned.engine_recipe["version"] == engines.get("alphafold2").version
    check_agreement(planned, parameters)


@pytest.mark.slow
def test_a_worker_that_agrees_folds(planned: FoldRequest, worker: Worker) -> None:
    answer = worker(**envelope(planned))
    assert "error" not in answer, answer
    assert data_of(answer["results"]["archive"])


def test_a_worker_with_other_parameters_refuses_the_job(
    planned: FoldRequest, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAKEFOLD_REHEARSAL_BLOCKS", str(BLOCKS - 1))
    monkeypatch.setenv("SNAKEFOLD_WEIGHTS", str(other(tmp_path / "other")))
    from snakefold.worker.jobs import _warm

    _warm.drop(grace=0.0)  # the process has the environment that it was started in
    given = planned.model_copy(update={"recipe": "6" * 16})
    failed = told(worker(**envelope(given)))
    _warm.drop(grace=0.0)
    assert failed["reason"] == "weights_missing"
    assert f"blocks is {BLOCKS - 1}, not {BLOCKS}" in failed["message"]
    assert "SNAKEFOLD_REHEARSAL_BLOCKS" in failed["message"]
    store = open_store(os.environ["SNAKEFOLD_STORE"])
    assert store.keys("fold", "6" * 16) == set()


def test_other_official_parameters_are_told_by_file(tmp_path: Path) -> None:
    ours, theirs = toy_parameters(tmp_path / "ours", 1.0), toy_parameters(tmp_path / "theirs", 2.0)
    request = fold_request(("a",), rehearsal=False)
    engine = engines.get("alphafold2")
    recipe = engine.recipe("monomer", settings_of(engine, request), ours)
    request = request.model_copy(update={"engine_recipe": json.loads(json.dumps(recipe))})
    check_agreement(request, ours)
    with pytest.raises(TargetError, match="model_1_ptm is") as caught:
        check_agreement(request, theirs)
    assert caught.value.reason is Reason.WEIGHTS_MISSING


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colabfold": "1.0.0"}, "colabfold is .*, not 1.0.0"),
        ({"version": "2.0.0"}, "version is .*, not 2.0.0"),
    ],
)
def test_another_release_is_told(
    planned: FoldRequest, parameters: Path, change: dict[str, str], said: str
) -> None:
    request = planned.model_copy(update={"engine_recipe": planned.engine_recipe | change})
    with pytest.raises(TargetError, match=said) as caught:
        check_agreement(request, parameters)
    assert caught.value.reason is Reason.INVALID_INPUT


def test_settings_that_the_recipe_was_not_made_of_are_told(planned: FoldRequest, parameters: Path) -> None:
    changed = {**planned.settings, "num_recycle": 3}
    with pytest.raises(TargetError, match=r"settings\.num_recycle is 3, not 0") as caught:
        check_agreement(planned.model_copy(update={"settings": changed}), parameters)
    assert caught.value.reason is Reason.INVALID_INPUT


def test_a_job_without_a_worker_holds_its_targets_to_it_too(planned: FoldRequest, tmp_path: Path) -> None:
    """`snakefold task`, here and under SLURM: rows of failures.tsv, and nothing in the store."""
    store = open_store(tmp_path / "empty")
    response = task.run_request(
        planned,
        {f"chains/{planned.targets[0].key}/msa.a3m": f">a\n{SEQUENCES['a']}\n".encode()},
        tmp_path / "out.tar.zst",
        store=store,
        weights=other(tmp_path / "other"),
        cache=None,
        log=lambda _: None,
    )
    (outcome,) = response.outcomes
    assert (outcome.state, outcome.reason) == ("failed", Reason.WEIGHTS_MISSING)
    assert "planned with other parameters" in outcome.message
    assert "plan again" in outcome.advice
    assert store.keys("fold", planned.recipe) == set()


def test_a_request_that_says_nothing_is_not_held_to_anything(parameters: Path) -> None:
    assert fold_request().engine_recipe == {}
    check_agreement(fold_request(), parameters)


def test_an_engine_of_other_parameters_is_compared_too(flashabb_weights: Path) -> None:
    request = fold_request(engine="flashabb").model_copy(update={"settings": {}})
    engine = engines.get("flashabb")
    recipe = engine.recipe("antibody", engine.Settings(), flashabb_weights)
    check_agreement(request.model_copy(update={"engine_recipe": recipe}), flashabb_weights)
    weights = {**recipe["weights"], "ends_sha256": "0" * 64}
    with pytest.raises(TargetError, match=r"bytes .*, not .* bytes") as caught:
        check_agreement(
            request.model_copy(update={"engine_recipe": {**recipe, "weights": weights}}), flashabb_weights
        )
    assert caught.value.reason is Reason.WEIGHTS_MISSING
    # What was planned for the network in PyTorch is not computed in JAX under its name.
    before = {name: value for name, value in recipe.items() if name != "implementation"}
    with pytest.raises(TargetError, match="planned for another flashabb") as caught:
        check_agreement(request.model_copy(update={"engine_recipe": before}), flashabb_weights)
    assert caught.value.reason is Reason.INVALID_INPUT


def test_parameters_that_are_replaced_while_they_are_loaded(
    planned: FoldRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = other(tmp_path / "weights")
    rehearsal.draw(folder, ["model_1_ptm"], BLOCKS)
    path = parameters_file(folder, "model_1_ptm")
    with agreed(planned, folder):
        pass
    with pytest.raises(TargetError, match=str(path)) as caught, agreed(planned, folder):
        path.with_suffix(".new").write_bytes(path.read_bytes())
        path.with_suffix(".new").rename(path)
    assert caught.value.reason is Reason.WEIGHTS_MISSING
    # In a job: the targets fail, and nothing is in the store.
    module = engines.get("alphafold2")
    monkeypatch.setattr(module, "start", lambda *_: path.touch())
    store = open_store(tmp_path / "empty")
    inputs = {f"chains/{planned.targets[0].key}/msa.a3m": f">a\n{SEQUENCES['a']}\n".encode()}
    response = task.run_request(
        planned, inputs, tmp_path / "o", store=store, weights=folder, cache=None, log=lambda _: None
    )
    assert [outcome.reason for outcome in response.outcomes] == [Reason.WEIGHTS_MISSING]
    assert store.keys("fold", planned.recipe) == set()
