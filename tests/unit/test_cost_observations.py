"""Reading what runs took, and `snakefold calibrate`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from snakefold.cli import main
from snakefold.config import Config
from snakefold.engines.alphafold2.settings import AlphaFold2Settings
from snakefold.kernel import archive
from snakefold.kernel.contracts import (
    Confidence,
    FoldRequest,
    FoldResponse,
    ModelScores,
    RelaxSettings,
    TargetInput,
    TargetOutcome,
)
from snakefold.kernel.errors import Reason, SnakefoldError
from snakefold.kernel.notes import Code, note
from snakefold.kernel.recipes import sequence_key
from snakefold.plan.cost.calibration import read_calibration
from snakefold.run.calibration.observations import read_observations, write_timings

SEQUENCES = {
    "short": "MKTAYIAKQR" * 4,
    "long": "GSHMLEDPVE" * 6,
    "kept": "AAAAAGGGGG" * 5,
    "bad": "WWWWWWWWWW",
}


def _timings(**seconds: float) -> bytes:
    return json.dumps({"msa": 0.1, **seconds}).encode()


def _confidence(key: str, length: int) -> bytes:
    scores = ModelScores(
        name="model_1", plddt=[50.0] * length, mean_plddt=50, ranking_confidence=50, relaxed=True
    )
    text = Confidence(
        key=key, engine="alphafold2", rehearsal=True, chain_lengths=[length], models=[scores], msa_depth=11
    )
    return text.model_dump_json().encode()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder: two targets computed, one from the store, one failed; and a chunk of two chains."""
    folder = tmp_path / "results"
    targets = {
        name: TargetInput(id=name, key=sequence_key([text]), chains=[text])
        for name, text in SEQUENCES.items()
    }
    request = FoldRequest(
        batch="b0001-l0064",
        engine="alphafold2",
        settings=AlphaFold2Settings(models=[1, 2], num_recycle=1, max_extra_msa=64).model_dump(mode="json"),
        relax=RelaxSettings(max_iterations=20),
        recipe="0" * 16,
        rehearsal=True,
        bucket_edges=[48, 64],
        targets=list(targets.values()),
    )
    parts = ("predict_a", "predict_b", "predict", "compile", "relax", "cpu")
    seconds = {
        "short": dict(zip(parts, (22.0, 2.0, 25.0, 20.0, 5.0, 44.0), strict=True)),
        "long": dict(zip(parts, (2.5, 2.5, 5.5, 0.0, 7.0, 20.0), strict=True)),
        "kept": dict(zip(parts, (99.0, 99.0, 99.0, 0.0, 99.0, 99.0), strict=True)),
    }
    totals = {"short": 30.5, "long": 13.0, "kept": 0.0, "bad": 1.0}
    outcomes = [
        TargetOutcome(
            id=name,
            key=target.key,
            result_key=target.result_key,
            state="failed" if name == "bad" else "done",
            stored=name == "kept",
            reason=Reason.INTERNAL if name == "bad" else None,
            seconds=totals[name],
        )
        for name, target in targets.items()
    ]
    response = FoldResponse(
        batch=request.batch, engine="alphafold2", engine_version="1", recipe=request.recipe, rehearsal=True,
        outcomes=outcomes, seconds={"load": 1.0, "total": 46.0}, device="CPU",
    )  # fmt: skip
    files = {"response.json": response.model_dump_json().encode()}
    for name, taken in seconds.items():
        members = {
            "timings.json": _timings(**taken),
            "confidence.json": _confidence(targets[name].key, targets[name].length),
        }
        files[f"targets/{targets[name].result_key}.tar.zst"] = archive.pack(members)
    chains = [{"key": target.key, "sequence": target.chains[0]} for target in targets.values()]
    texts = {
        "config.yaml": yaml.safe_dump(Config().model_dump(mode="json")),
        "plan/batches.tsv": "batch\tgpu\nb0001-l0064\tlocal\nb0002-l0100\tlocal\n",
        "plan/chunks/m0001.json": json.dumps({"chunk": "m0001", "recipe": "0" * 16, "chains": chains}),
        "requests/b0001-l0064/request.json": request.model_dump_json(),
        "msa/m0001.json": json.dumps({"searched": [chains[0]["key"], chains[1]["key"]]}),
        "benchmarks/msa/m0001.tsv": "s\th:m:s\tcpu_time\n0.93\t0:00:00\t0.58\n",
        "benchmarks/predict/b0001-l0064.tsv": "s\th:m:s\tcpu_time\n48.0\t0:00:48\tNA\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "predictions").mkdir()
    (folder / "predictions" / "b0001-l0064.tar.zst").write_bytes(archive.pack(files))
    return folder


def test_parts_of_what_was_computed(results: Path) -> None:
    found = read_observations(results)
    short, long = found.targets
    assert (short.target, short.length, short.padded_length, short.gpu) == ("short", 40, 48, "local")
    assert (long.length, long.padded_length) == (60, 64)
    assert (short.network, short.compile, short.features, short.relax) == pytest.approx((4.0, 20.0, 1.5, 5.0))
    assert (long.network, long.compile, long.features, long.relax) == pytest.approx((5.0, 0.0, 1.0, 7.0))
    assert short.cpu == 44.0
    # 11 rows: the session gives them 12 clusters; the extra rows were set, the blocks are a rehearsal's.
    work = short.work
    assert (work.msa_rows, work.extra_rows, work.blocks, work.predictions, work.passes) == (12, 64, 2, 2, 2)
    (chunk,) = found.chunks
    assert (chunk.chains, chunk.residues, chunk.cpu) == (2, 100, 0.58)
    # A batch with a failure did what no target shows: nothing is said of its loading.
    assert not found.batches


@pytest.mark.parametrize(
    "changed", [{"stop_at_score": 90.0}, {"recycle_early_stop_tolerance": 0.5}, {"without": True}]
)
def test_what_was_less_or_slower_than_planned_teaches_nothing(results: Path, changed: dict[str, Any]) -> None:
    asked = results / "requests" / "b0001-l0064" / "request.json"
    request = json.loads(asked.read_text())
    if changed.pop("without", False):
        packed = results / "predictions" / "b0001-l0064.tar.zst"
        files = archive.unpack(packed.read_bytes())
        for name in [each for each in files if each.startswith("targets/")]:
            members = archive.unpack(files[name])
            scores = json.loads(members["confidence.json"])
            scores["warnings"] = [note(Code.WITHOUT_KERNELS, "pallas was asked for")]
            files[name] = archive.pack({**members, "confidence.json": json.dumps(scores).encode()})
        packed.write_bytes(archive.pack(files))
    request["settings"] |= changed
    asked.write_text(json.dumps(request))
    assert not read_observations(results).targets


def test_timings_are_a_table_and_the_same_when_written_again(results: Path) -> None:
    write_timings(results)
    text = (results / "timings.tsv").read_text()
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    assert [(row["kind"], row["name"]) for row in rows] == [
        ("target", "short"), ("target", "long"), ("chunk", "m0001"),
    ]  # fmt: skip
    assert float(rows[0]["wall"]) == pytest.approx(30.5)
    write_timings(results)
    assert (results / "timings.tsv").read_text() == text


def test_calibrate_writes_what_the_model_reads(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "calibration.json"
    assert main(["calibrate", str(results), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "Published figures:" in text
    assert "median ratio" in text
    once = read_calibration(out)
    assert once.classes["local"]["alphafold2"]["predict"].observations == 2
    assert main(["calibrate", str(results), "--out", str(out)]) == 0
    assert read_calibration(out) == once


def test_a_rehearsal_does_not_replace_the_users_calibration(
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = tmp_path / "own.json"
    monkeypatch.setattr("snakefold.plan.cost.calibration.user_calibration", lambda: own)
    (asked,) = results.glob("requests/*/request.json")
    request = json.loads(asked.read_text())
    asked.write_text(json.dumps(request | {"rehearsal": True}))
    assert main(["calibrate", str(results)]) == 2
    assert "a rehearsal" in (said := capsys.readouterr().err)
    assert "--out FILE" in said
    assert not own.exists()
    assert main(["calibrate", str(results), "--out", str(tmp_path / "elsewhere.json")]) == 0
    asked.write_text(json.dumps(request | {"rehearsal": False}))
    assert main(["calibrate", str(results)]) == 0
    assert own.is_file()


def test_foreign_and_empty_folders_are_refused(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SnakefoldError, match="not the results folder"):
        read_observations(tmp_path)
    assert main(["calibrate", str(tmp_path), "--out", str(tmp_path / "c.json")]) == 2
    assert "not the results folder" in capsys.readouterr().err
    for path in [*(results / "predictions").iterdir(), *(results / "msa").iterdir()]:
        path.unlink()
    assert main(["calibrate", str(results), "--out", str(tmp_path / "c.json")]) == 2
    assert "nothing was computed" in capsys.readouterr().err
    assert not (tmp_path / "c.json").exists()


def test_a_damaged_archive_is_named(results: Path) -> None:
    (results / "predictions" / "b0001-l0064.tar.zst").write_bytes(b"not an archive")
    with pytest.raises(SnakefoldError):
        read_observations(results)


def test_the_class_is_where_it_ran(results: Path) -> None:
    table = results / "plan" / "batches.tsv"
    table.write_text("batch\tgpu\nb0001-l0064\tampere_80\n")
    # Planned for a rented GPU, but a CPU did it: its seconds say nothing of that GPU.
    assert {item.gpu for item in read_observations(results).targets} == {"local"}
    packed = results / "predictions" / "b0001-l0064.tar.zst"
    files = archive.unpack(packed.read_bytes())
    files["response.json"] = files["response.json"].replace(b'"device":"CPU"', b'"device":"NVIDIA L4"')
    packed.write_bytes(archive.pack(files))
    assert {item.gpu for item in read_observations(results).targets} == {"ampere_80"}
    (results / "executions").mkdir()
    (results / "executions" / "b0001-l0064.json").write_text('{"gpu": "ampere_24"}')
    assert {item.gpu for item in read_observations(results).targets} == {"ampere_24"}


def test_what_a_later_plan_takes_from_the_store_was_measured_all_the_same(results: Path) -> None:
    before = read_observations(results).targets
    (results / "plan" / "batches.tsv").write_text("batch\tgpu\ns0001\t\n")
    assert read_observations(results).targets == before


def test_a_batch_without_failures_says_how_long_it_loaded(results: Path) -> None:
    packed = results / "predictions" / "b0001-l0064.tar.zst"
    request = results / "requests" / "b0001-l0064" / "request.json"
    asked = FoldRequest.model_validate_json(request.read_text())
    kept = [target for target in asked.targets if target.id in ("short", "long")]
    request.write_text(asked.model_copy(update={"targets": kept}).model_dump_json())
    files = archive.unpack(packed.read_bytes())
    response = FoldResponse.model_validate_json(files["response.json"])
    done = [outcome for outcome in response.outcomes if outcome.id in ("short", "long")]
    files["response.json"] = response.model_copy(update={"outcomes": done}).model_dump_json().encode()
    packed.write_bytes(archive.pack(files))
    (batch,) = read_observations(results).batches
    # 48 s in all, 43.5 of them the targets', of which the first took 0.25 s more than usual.
    assert (batch.wall, batch.load, batch.targets, batch.shapes) == pytest.approx((48.0, 4.75, 2, 2))
