"""A target's own A3M travels with it, and with no other."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from sequence_files import CRN, write

from snakefold.config import Config, load_config
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import open_store
from snakefold.plan.files import PlannedBatch, read_batch
from snakefold.plan.planner import make_plan
from snakefold.plan.present import Recipes
from snakefold.run.requests import gather_inputs, make_request, read_inputs

RECIPES = Recipes(["0" * 16] * 4, "1" * 16, "1" * 16, [True] * 4)


def planned(folder: Path, *paths: Path) -> tuple[PlannedBatch, Config]:
    config = load_config({"input": [str(path) for path in paths]})
    make_plan(config, folder / "plan", name=lambda _: RECIPES)
    (batch,) = (folder / "plan" / "batches").iterdir()
    return read_batch(folder / "plan", batch.stem), config


def test_equal_sequences_keep_their_own_alignments(tmp_path: Path) -> None:
    texts = {name: f">q\n{CRN}\n>{name}\n{CRN[:-1]}-\n" for name in ("one", "two")}
    one = write(tmp_path, "one.a3m", texts["one"].replace("\n", "\r\n"))
    two = write(tmp_path, "two.a3m.gz", gzip.compress(texts["two"].encode()))
    batch, config = planned(tmp_path, one, two)
    request = make_request(batch, config)
    msas, failed = read_inputs(request, gather_inputs(batch, {}, open_store(tmp_path / "store")))
    assert failed == {}
    assert {target.id: msas[target.result_key].own_a3m for target in request.targets} == texts


def test_alignment_that_changed_after_the_plan_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "one.a3m", f">q\n{CRN}\n")
    batch, _ = planned(tmp_path, path)
    write(tmp_path, "one.a3m", f">q\n{CRN}\n>more\n{CRN}\n")
    with pytest.raises(SnakefoldError, match=r"Changed since the run was planned: .*one\.a3m"):
        gather_inputs(batch, {}, open_store(tmp_path / "store"))
    path.unlink()
    with pytest.raises(SnakefoldError, match=r"one\.a3m: "):
        gather_inputs(batch, {}, open_store(tmp_path / "store"))
