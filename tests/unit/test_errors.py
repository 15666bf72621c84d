"""Codes of errors: each that the source uses is explained, and none is explained that nothing uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import snakefold
from snakefold.cli import main
from snakefold.kernel.errors import ADVICE, MEANING, RETRIED, Reason
from snakefold.molecules.codes import CODES

SOURCE = Path(snakefold.__file__).parent
#: Calls whose first argument is a code.
CALLS = {"BadFile", "BadSequence", "problem"}


def codes_used() -> Iterator[str]:
    for path in (SOURCE / "molecules").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            first = node.args[0]
            if name in CALLS and isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def test_every_code_of_a_refusal_is_explained_and_no_other() -> None:
    # A target that no engine takes is refused with the reason of a failure.
    reasons = {"invalid_input"}
    assert set(codes_used()) | reasons == set(CODES)


def test_every_reason_is_explained() -> None:
    assert set(MEANING) == set(Reason)
    # What is not tried again says what to do; a relaxation that failed costs no structure.
    assert set(Reason) - set(ADVICE) == {Reason.RELAX_FAILED}
    assert set(RETRIED) < set(Reason)


def test_a_code_is_explained_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["errors", "out_of_memory"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("The target needs more GPU memory")
    assert "gpu.classes" in told
    assert main(["errors", "stop_codon"]) == 0
    assert capsys.readouterr().out == "A sequence has a stop (*) before its end.\n"


def test_an_unknown_code_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["errors", "nonsense"]) == 2
    assert "snakefold errors" in capsys.readouterr().err
