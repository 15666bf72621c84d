"""Files of a plan that are damaged: one line names the file and what to do, with exit code 2."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from planning import SET, plan

from snakefold.cli import main
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.files import planned_parameters

DAMAGE = {
    "empty": b"",
    "cut": b'{"rehearsal": tr',
    "a list": b"[1]",
    "null": b"null",
    "an object": b"{}",
    "other types": b'{"rehearsal": [], "chunk": {}, "targets": 1, "classes": 2, "dollars": ""}',
    "no text": b"\xff\xfe\x00",
    "nested without end": b"[" * 5000,
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a plan of monomers and a complex, and a record of a batch that was lost."""
    fasta = tmp_path / "set.fasta"
    fasta.write_text(SET)
    folder = tmp_path / "results"
    plan(fasta, folder / "plan")
    (folder / "config.yaml").write_text(yaml.safe_dump({"input": str(fasta), "results": str(folder)}))
    (folder / "plan" / "weights.json").write_text(json.dumps({"rehearsal": True, "folders": {}}))
    (folder / "executions").mkdir()
    batch = next(path for path in sorted((folder / "plan" / "batches").iterdir()))
    (folder / "executions" / batch.name).write_text(json.dumps({"billed_seconds": 3, "idle_seconds": 0}))
    monkeypatch.chdir(folder)
    return folder


SIMULATE = ["simulate", "--plan", "plan"]


@pytest.mark.parametrize(
    ("name", "words", "whole"),
    [
        ("plan/weights.json", SIMULATE, True),
        ("plan/weights.json", ["status", "."], True),
        ("plan/chunks/m*.json", SIMULATE, True),
        ("plan/batches/b*.json", ["bill", "."], False),
        ("plan/quote.json", ["bill", "."], True),
        ("executions/*.json", ["bill", "."], True),
        ("calibration.json", [*SIMULATE, "--set", "calibration=calibration.json"], False),
    ],
)
def test_it_is_named_on_one_line(
    results: Path, capsys: pytest.CaptureFixture[str], name: str, words: Sequence[str], whole: bool
) -> None:
    """`whole`: the file has something that must be there."""
    if name != "calibration.json":
        assert main(words) == (1 if words[0] == "status" else 0)  # the run was stopped
    damaged = sorted(results.glob(name)) or [results / name]
    for kind, damage in DAMAGE.items():
        for path in damaged:
            path.write_bytes(damage)
        capsys.readouterr()
        if kind == "an object" and not whole:
            assert main(words) == 0
            continue
        assert main(words) == 2, kind
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("snakefold: "), kind
        assert any(str(path.relative_to(results)) in line for path in damaged), kind
        assert "emove " in line, kind


def test_it_is_never_taken_for_no_parameters(results: Path) -> None:
    """Parameters that a job looks for elsewhere would be others."""
    (results / "plan" / "weights.json").write_text("{")
    with pytest.raises(SnakefoldError, match=r"weights\.json: cannot be read"):
        planned_parameters(results / "plan", "alphafold2")


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN"])
@pytest.mark.usefixtures("results")
def test_a_calibration_is_of_numbers(capsys: pytest.CaptureFixture[str], number: str) -> None:
    part = f'{{"classes": {{"local": {{"alphafold2": {{"predict": {{"exponent": {number}}}}}}}}}}}'
    Path("calibration.json").write_text(part)
    assert main([*SIMULATE, "--set", "calibration=calibration.json"]) == 2
    assert "classes.local.alphafold2.predict.exponent" in capsys.readouterr().err
