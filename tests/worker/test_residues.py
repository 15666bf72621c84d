"""What a request's prediction counts against a quota, told before anything is computed."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from snakefold.kernel.errors import InputError
from snakefold.worker.endpoints import InvalidInput, read_input
from snakefold.worker.residues import residues_of
from tests.worker.conftest import SEQUENCES, envelope, fold_request

_CHAIN = "MKTAYIAKQR"
_YAML = f"""version: 1
sequences:
- protein: {{id: [A, B], sequence: {_CHAIN}}}
- rna: {{id: C, sequence: GGGAAACCC}}
- ligand: {{id: D, smiles: "CCO"}}
"""
_DESIGNS = envelope(fold_request(engine="proteinmpnn", settings={}))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"sequence": _CHAIN}, 10),
        ({"sequence": f" {_CHAIN[:5]}\n{_CHAIN[5:]} : {_CHAIN}"}, 20),
        ({"fasta": f">MKTAY one\n{_CHAIN}\n>two\n{_CHAIN}:{_CHAIN}\n"}, 30),
        ({"sequences": [{"id": "a", "sequence": _CHAIN}, {"id": "b", "sequence": f"{_CHAIN}:MK"}]}, 22),
        ({"task": "predict", "engine": "openfold", "sequence": f"{_CHAIN}:{_CHAIN}"}, 20),
        ({"input_yaml": base64.b64encode(_YAML.encode()).decode()}, 29),
        (envelope(fold_request(["a", "b"])), len(SEQUENCES["a"]) + len(SEQUENCES["b"])),
        (_DESIGNS, 0),
        ({"task": "align", "sequence": _CHAIN}, 0),
        ({"task": "search", "query_fasta": f">a\n{_CHAIN}\n", "target_db": "swissprot"}, 0),
        ({"task": "build", "target_fasta": f">a\n{_CHAIN}\n", "target_db": "mine"}, 0),
        ({"task": "cluster", "sequences_fasta": f">a\n{_CHAIN}\n"}, 0),
    ],
)
def test_all_chains_of_what_is_predicted_count(given: dict[str, Any], expected: int) -> None:
    assert residues_of(read_input(given)) == expected


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"fasta_url": "https://example.org/a.fasta"}, "fasta_url: its residues are not known"),
        ({"fasta": ">a\nMK1AY\n"}, "'1'"),
        ({"input_yaml": base64.b64encode(b"version: 1\nsequences: []\n").decode()}, "input_yaml"),
        (envelope(fold_request()) | {"request": {"targets": [{"chains": []}]}}, "targets"),
    ],
)
def test_what_cannot_be_counted_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises((InputError, InvalidInput), match=says):
        residues_of(read_input(given))
