"""The affinity of a ligand as the page says it, and how a screen is sorted by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.browser.make_assembly import AFFINITY, make_assembly
from tests.unit.test_report_target import content

from snakefold import engines
from snakefold.engines.spec import VIEWS
from snakefold.report.affinity import card, concentration
from snakefold.report.index import own_columns
from snakefold.report.run import read_run
from snakefold.structures.confidence import Confidence


def confidence(engine: str = "boltz2", **scores: Any) -> Confidence:
    return Confidence(key="k", engine=engine, rehearsal=False, chain_lengths=[1], models=[], scores=scores)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-3.0, "1.00 nM"),
        (-1.5, "31.6 nM"),
        (0.0, "1.00 µM (1,000 nM)"),
        (0.126291, "1.34 µM (1,340 nM)"),
        (2.0, "100 µM (100,000 nM)"),
        (-6.5, "316 fM (0.000316 nM)"),
        (-4.0, "100 pM (0.100 nM)"),
        (3.5, "3.16 mM (3,160,000 nM)"),
        # Rounding does not end at a thousand of the smaller unit.
        (-0.0001, "1.00 µM (1,000 nM)"),
    ],
)
def test_concentrations(value: float, text: str) -> None:
    assert concentration(value) == text


@given(st.floats(-9, 6))
def test_a_concentration_is_the_value(value: float) -> None:
    number, unit = concentration(value).split()[:2]
    molar = (
        float(number.replace(",", ""))
        * {"fM": 1e-15, "pM": 1e-12, "nM": 1e-9, "µM": 1e-6, "mM": 1e-3, "M": 1}[unit]
    )
    assert molar == pytest.approx(10**value * 1e-6, rel=0.006)


def test_the_card_has_what_the_engine_gave() -> None:
    found = card(confidence(**AFFINITY))
    assert found is not None
    assert (found["value"], found["ic50"], found["probability"]) == (-1.5, "31.6 nM", 0.75)
    assert [(each["value"], each["ic50"], each["probability"]) for each in found["members"]] == [
        (-1.25, "56.2 nM", 0.625),
        (-1.75, "17.8 nM", 0.875),
    ]
    alone = card(confidence(affinity_pred_value=-1.5))
    assert alone is not None and alone["probability"] is None and alone["members"] == []


@pytest.mark.parametrize(
    "found",
    [
        confidence(),
        confidence(affinity_probability_binary=0.5),
        confidence(affinity_pred_value=float("nan")),
        confidence("alphafold2", **AFFINITY),
        confidence("not installed", **AFFINITY),
    ],
)
def test_without_an_affinity_there_is_no_card(found: Confidence) -> None:
    assert card(found) is None


def test_engines_declare_what_they_read() -> None:
    for engine in map(engines.get, engines.names()):
        assert set(engine.views) <= set(VIEWS)
        assert ("affinity" in engine.views) == (engine.affinity is not None)
        assert set(engine.affinity.columns if engine.affinity else ()) <= set(engine.columns)


def test_a_screen_is_sorted_by_affinity(tmp_path: Path) -> None:
    one = make_assembly(tmp_path / "one")
    assert content(one / "structures" / "binder")["affinity"]["value"] == -1.5
    assert content(one / "structures" / "all")["affinity"] is None
    names = {name for name, _, _ in content(one / "structures" / "binder")["own"]}
    assert not names & set(AFFINITY)
    columns = {each["name"]: each for each in own_columns(read_run(one))}
    # One value is no order.
    assert columns["affinity_pred_value"] | {"meaning": ""} == {
        "name": "affinity_pred_value", "title": "Affinity", "meaning": "", "digits": 2, "number": True,
        "early": True, "sort": False,
    }  # fmt: skip
    two = make_assembly(tmp_path / "two", scores={"binder": AFFINITY, "all": {"affinity_pred_value": 0.5}})
    columns = {each["name"]: each for each in own_columns(read_run(two))}
    assert columns["affinity_pred_value"]["sort"]
    assert not any(each.get("sort") for name, each in columns.items() if name != "affinity_pred_value")
