"""The command, as people start it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import file_of, photograph
from snakefold_images import cli
from snakefold_images.weights import REHEARSAL, Weights


def written(folder: Path, **changes: Any) -> Path:
    """A message of two images that lie beside it."""
    items = []
    for number in range(2):
        (folder / f"{number}.png").write_bytes(file_of(photograph(seed=number)))
        keys = {"output_key": f"done/{number}.png", "preview_key": f"done/{number}.jpg"}
        items.append({"idx": number, "input_key": f"{number}.png", **keys})
    message = {
        "job_id": "j",
        "user_id": "u",
        "preset": "interior",
        "concepts": {"Floor": {"action": "recolor", "value": "oak_a"}},
        "items": items,
    }
    path = folder / "message.json"
    path.write_text(json.dumps({**message, **changes}))
    return path


def test_a_rehearsal_needs_no_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path)
    assert cli.main(["run", str(path), "--out", str(tmp_path / "out"), "--rehearsal"]) == 0
    told = capsys.readouterr()
    assert REHEARSAL in told.err
    assert "2 of 2 images done" in told.out
    for number in range(2):
        with Image.open(tmp_path / "out" / "done" / f"{number}.png") as image:
            assert image.size == (128, 96)
            assert image.info["Comment"] == REHEARSAL
    report = json.loads((tmp_path / "out" / "message.report.json").read_text())
    assert report["successful_items"] == 2
    assert sorted(path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()) == [
        ".jpg", ".jpg", ".json", ".png", ".png",
    ]  # fmt: skip


def test_an_image_that_fails_is_told_by_the_exit_code(
    tmp_path: Path, drawn: Weights, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path)
    (tmp_path / "1.png").unlink()
    arguments = ["run", str(path), "--out", str(tmp_path / "out"), "--weights", str(drawn.folder)]
    assert cli.main(arguments) == 1
    assert "1: failed:" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "message.report.json").read_text())
    assert report["errors"][0]["idx"] == 1
    assert "1.png: cannot be read" in report["errors"][0]["error"]


def test_what_is_wrong_with_a_message_is_said_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, preset="exterior")
    assert cli.main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert f"{path}: preset: unknown preset 'exterior'" in told
    assert not (tmp_path / "out").exists()


def test_without_parameters_it_says_how_to_get_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    monkeypatch.delenv("MODEL_CACHE_DIR", raising=False)
    assert cli.main(["run", str(path), "--out", str(tmp_path)]) == 2
    assert "$MODEL_CACHE_DIR is not set" in capsys.readouterr().err
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path))
    assert cli.main(["run", str(path), "--out", str(tmp_path)]) == 2
    assert "snakefold-images weights fetch" in capsys.readouterr().err


def test_the_doctor_loads_the_network(
    drawn: Weights, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_CACHE_DIR", str(drawn.folder))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert cli.main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "network on" in told and REHEARSAL in told
    assert "hf_secret" not in told


def test_the_doctor_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path))
    assert cli.main(["doctor"]) == 1
    assert "wrong  " in capsys.readouterr().out


def test_parameters_are_drawn_into_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", "draw", str(tmp_path / "w")]) == 0
    assert REHEARSAL in capsys.readouterr().out
    assert (tmp_path / "w" / "model.safetensors").is_file()


def test_a_handler_can_ask_for_the_contract_without_the_network() -> None:
    heavy = "('torch', 'cv2', 'transformers', 'numpy')"
    code = f"import sys, snakefold_images.task; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
