"""Targets that no GPU on offer can hold: refused if they must be computed, taken if they are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sequence_files import CRN, UBQ, write

from snakefold.config import load_config
from snakefold.kernel.errors import InputError, Reason, Refusal, TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.molecules.targets import Target
from snakefold.plan.accept import memory_check
from snakefold.plan.draft import Draft
from snakefold.plan.planner import make_plan
from snakefold.plan.present import Recipes
from snakefold.plan.records import Records, read_input, refuse

RECIPES = Recipes(["0" * 16, "1" * 16] * 2, "2" * 16, "3" * 16, [True] * 4)
LONG = (UBQ * 30)[:2000]
SET = f">ubq\n{UBQ}\n>long\n{LONG}\n>again\n{LONG}\n>crn\n{CRN}\n"


def plan(tmp_path: Path, text: str = SET, store: Store | None = None, **values: Any) -> Draft:
    path = write(tmp_path, "set.fasta", text)
    config = load_config({"input": str(path), "gpu": {"classes": ["ampere_16"]}, **values})
    return make_plan(config, tmp_path / "plan", name=lambda targets: RECIPES, store=store, fits=memory_check)


def test_one_that_must_be_computed_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    made = plan(tmp_path)
    assert made.counts() == {"to_do": 2, "stored": 0, "reused": 0, "duplicate_of": 0, "refused": 2}
    first, second = made.records.refusals
    assert (first.header, second.header) == ("long", "again")
    assert first.code == str(Reason.OUT_OF_MEMORY)
    assert "2000 residues need about" in first.message
    assert "At most 1299 residues fit into ampere_16" in first.message
    assert "gpu.classes" in first.advice


def test_one_that_is_stored_is_taken(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.put(Entry("fold", RECIPES.folds[0], sequence_key([LONG])), b"result")
    made = plan(tmp_path, store=store)
    assert made.counts() == {"to_do": 2, "stored": 1, "reused": 0, "duplicate_of": 1, "refused": 0}


def test_nothing_starts_where_the_user_wants_that(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="residues need about"):
        plan(tmp_path, on_invalid="stop")
    with pytest.raises(InputError, match="residues need about"):
        plan(tmp_path, f">long\n{LONG}\n")
    assert not (tmp_path / "plan").exists()


@given(
    st.lists(st.sampled_from([UBQ, CRN, LONG, f"{CRN}:{UBQ}", "MQ-"]), min_size=1, max_size=12),
    st.sets(st.integers(0, 3)),
)
def test_all_but_the_refused_stay_what_they_were(
    tmp_path_factory: pytest.TempPathFactory, sequences: list[str], wanted: set[int]
) -> None:
    text = "".join(f">t{number}\n{sequence}\n" for number, sequence in enumerate(sequences))
    path = write(tmp_path_factory.mktemp("set"), "set.fasta", text)
    try:
        before = read_input(load_config({"input": str(path)}), None)
    except InputError:
        return
    errors = {
        index: TargetError(Reason.OUT_OF_MEMORY, "too long")
        for index in wanted
        if index < len(before.targets)
    }
    if len(errors) == len(before.targets):
        with pytest.raises(InputError):
            refuse(before, errors, stop=False)
        return
    after, kept = refuse(before, errors, stop=False)
    assert [before.targets[index] for index in kept] == list(after.targets)
    assert sorted({*kept, *errors}) == list(range(len(before.targets)))
    assert len(after.rows) == len(before.rows)
    for place, row in enumerate(after.rows):
        old = int(before.computed[place])
        if old < 0 or old in errors:
            assert isinstance(row, Refusal)
            assert after.computed[place] == -1
        else:
            assert isinstance(row, Target)
            assert row == before.rows[place]
            assert key_of(after, place) == key_of(before, place)


def key_of(records: Records, place: int) -> tuple[str, int, bool]:
    index = int(records.computed[place])
    return records.keys[index], int(records.lengths[index]), bool(records.groups[index])
