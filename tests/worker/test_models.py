"""Tasks `predict` and `align`, up to the network; tests/service predicts with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from snakefold.worker.endpoints import InvalidInput
from snakefold.worker.endpoints.models import Alignment
from snakefold.worker.models import merged
from tests.worker.conftest import Answer, told

SEQUENCE = "MKTAYIAKQRQISFVKSHF"
ROWS = f">query\n{SEQUENCE}\n>hit\nMKTAYLAKQRQVSFVKSHY\n"


def test_alignments_are_merged_in_order_without_rows_that_were_there() -> None:
    stockholm = "\n".join(
        ["# STOCKHOLM 1.0", f"query {SEQUENCE[:5]}-{SEQUENCE[5:]}", "hit MKTAYaLAKQRQVSFVKSHY", "new M"]
    )
    given = [Alignment(name="a", text=ROWS), Alignment(name="b", text=ROWS.replace("hit", "same"))]
    text = merged(SEQUENCE.lower(), given)
    assert text == f">sequence\n{SEQUENCE}\n>hit\nMKTAYLAKQRQVSFVKSHY\n"
    with pytest.raises(InvalidInput, match=r"alignments: c: cannot be read as sto: .*differ in width"):
        merged(SEQUENCE, [*given, Alignment(name="c", format="sto", text=stockholm)])
    row = f"new {SEQUENCE[:5]}WC{SEQUENCE[6:]}"
    whole = Alignment(name="c", format="sto", text=stockholm.replace("new M", row))
    assert merged(SEQUENCE, [*given, whole]).endswith(f">new\n{SEQUENCE[:5]}wC{SEQUENCE[6:]}\n")
    with pytest.raises(InvalidInput, match="alignments: d: its first row is not the sequence"):
        merged(SEQUENCE, [Alignment(name="d", text=ROWS.replace(SEQUENCE, SEQUENCE[::-1]))])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"engine": "none"}, "engine: this worker has no 'none'"),
        ({"engine": "proteinmpnn"}, "sequence: ProteinMPNN designs sequences"),
        (
            {"engine": "openfold", "sequence": f"{SEQUENCE}:{SEQUENCE}"},
            "parameters are of monomers",
        ),
        ({"engine": "openfold", "sequence": "MKT1"}, "sequence:2 (record 1: 'sequence'): The digit '1'"),
        ({"engine": "openfold", "settings": {"models": [1]}}, "settings of openfold: unknown key 'models'"),
        ({"engine": "openfold", "settings": {"num_recycle": "x"}}, "settings of openfold: num_recycle"),
        ({"engine": "openfold", "db_preset": "none_such"}, "db_preset: this worker knows no 'none_such'"),
        (
            {"engine": "openfold", "alignments": [{"name": "x", "text": ">q\nMKT\n"}]},
            "alignments: x: its first",
        ),
        (
            {"engine": "alphafold2", "sequence": "MK:TA", "alignments": [{"name": "x", "text": ROWS}]},
            "alignments: expected for one chain",
        ),
        (
            {"engine": "alphafold2", "db_preset": "demo", "alignments": [{"name": "x", "text": ROWS}]},
            "leave out db_preset",
        ),
    ],
)
def test_what_cannot_be_predicted_is_refused_before_anything_starts(
    worker: Callable[..., Answer], given: dict[str, Any], says: str
) -> None:
    request = {"task": "predict", "sequence": SEQUENCE, "rehearsal": True, "db_preset": "single_sequence"}
    if "alignments" in given:
        del request["db_preset"]
    answer = worker(**{**request, **given})
    assert json.loads(answer["error"])["reason"] == "invalid_input"
    assert says in told(answer)["message"]


def test_an_alignment_is_searched_once(worker: Callable[..., Answer]) -> None:
    first = worker(task="align", sequence=SEQUENCE, db_preset="demo")
    assert first["found"] is False and first["databases"] == ["swissprot"]
    assert first["a3m"].splitlines()[1] == SEQUENCE and first["a3m"].count(">") == first["depth"]
    again = worker(task="align", sequence=SEQUENCE, db_preset="demo")
    assert again["found"] is True and again["a3m"] == first["a3m"]
    refused = worker(task="align", sequence=f"{SEQUENCE}:{SEQUENCE}")
    assert "sequence: expected one chain" in told(refused)["message"]
