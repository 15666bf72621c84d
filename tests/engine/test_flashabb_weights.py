"""flash-abb's parameters out of its wheel: fetched by pip, complete or not at all, and found again."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from snakefold import cli
from snakefold.engines.flashabb import ENGINE, weights
from snakefold.engines.weights_folder import default_folder
from snakefold.kernel.errors import MissingProgramError, SnakefoldError, WeightsMissingError

HEAVY = (
    "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRYADSVKGRFTISADTSKNTAYLQMNSLRAEDTAVYYC"
    "SRWGGDGFYAMDYWGQGTLVTVSS"
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def other_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip finds a wheel of the right name and release that is not flash-abb's, and nothing else."""
    place = tmp_path / "wheels"
    place.mkdir()
    with zipfile.ZipFile(place / "flash_abb-0.0.5-py3-none-any.whl", "w") as wheel:
        wheel.writestr("flash_abb/weights/flabb_weights.pt", "not these")
        wheel.writestr(
            "flash_abb-0.0.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: flash-abb\nVersion: 0.0.5\n"
        )
        wheel.writestr("flash_abb-0.0.5.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    return place


def damage(folder: Path, flashabb_weights: Path) -> bytes:
    """A file whose size is right, and one byte is not."""
    path = weights.parameters_file(folder)
    path.parent.mkdir(parents=True)
    data = bytearray(weights.parameters_file(flashabb_weights).read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return bytes(data)


def test_the_command_replaces_a_damaged_file_and_leaves_a_complete_one(
    flashabb_weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "weights"
    damage(folder, flashabb_weights)
    left = weights.parameters_file(folder).parent / ".download-of-a-killed-process"
    left.mkdir()
    assert cli.main(["weights", "check", "flashabb", str(folder)]) == 1
    assert "is damaged (SHA-256" in capfd.readouterr().out
    assert cli.main(["weights", "fetch", "flashabb", str(folder)]) == 0
    said = capfd.readouterr().out
    assert "is damaged" in said and "29 MB, complete" in said
    path = weights.parameters_file(folder)
    assert path.read_bytes() == weights.parameters_file(flashabb_weights).read_bytes()
    assert names(path.parent) == ["LICENCE", "flabb_weights.pt"]
    assert names(folder) == ["flashabb"]
    assert "BSD 3-Clause" in path.with_name("LICENCE").read_text()
    assert cli.main(["weights", "check", "flashabb", str(folder)]) == 0
    before = path.stat()
    assert cli.main(["weights", "fetch", "flashabb", str(folder)]) == 0
    assert "complete, not fetched again" in capfd.readouterr().out
    assert path.stat() == before


def test_a_wheel_with_another_checksum_is_refused_and_nothing_changes(
    other_wheel: Path, flashabb_weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "weights"
    before = damage(folder, flashabb_weights)
    assert cli.main(["weights", "fetch", "flashabb", str(folder)]) == 2
    said = capfd.readouterr().err
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in said
    assert "--no-deps --require-hashes" in said and "pip says why above" in said
    path = weights.parameters_file(folder)
    assert path.read_bytes() == before
    assert names(path.parent) == ["flabb_weights.pt"]


def test_where_pip_finds_nothing_its_own_words_are_shown(
    other_wheel: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(other_wheel)
    other_wheel.mkdir()
    assert cli.main(["weights", "fetch", "flashabb", str(tmp_path / "weights")]) == 2
    assert "No matching distribution found for flash-abb==0.0.5" in capfd.readouterr().err
    assert names(tmp_path / "weights" / "flashabb") == []


def test_without_pip_the_command_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else found(name))
    with pytest.raises(MissingProgramError, match=r"has no pip.*ensurepip"):
        weights.fetch(tmp_path, None, print)


def test_a_mirror_is_a_setting_of_pip(tmp_path: Path) -> None:
    with pytest.raises(SnakefoldError, match="PIP_INDEX_URL"):
        weights.fetch(tmp_path, "http://127.0.0.1:1/", print)
    assert names(tmp_path) == []


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Three folders that are looked into: of the setting, of the variable, of the user."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("SNAKEFOLD_WEIGHTS", str(tmp_path / "variable"))
    return {"setting": tmp_path / "setting", "variable": tmp_path / "variable", "user": default_folder()}


@pytest.mark.parametrize("place", ["setting", "variable", "user"])
def test_they_are_found_in_any_folder_that_a_fetch_may_have_filled(
    place: str, elsewhere: dict[str, Path]
) -> None:
    path = weights.parameters_file(elsewhere[place])
    path.parent.mkdir(parents=True)
    path.touch()
    assert weights.locate(str(elsewhere["setting"])) == elsewhere[place]
    if place != "setting":
        # There are no random parameters: antibodies of a rehearsal are predicted with the official ones.
        assert weights.locate("auto") == weights.locate("rehearsal") == elsewhere[place]
    assert ENGINE.parameter_folder(str(elsewhere["setting"])) == elsewhere[place]
    assert ENGINE.parameter_files(elsewhere[place]) == [path]


def test_missing_and_damaged_ones_are_refused_with_the_command(
    flashabb_weights: Path, elsewhere: dict[str, Path]
) -> None:
    ask = ("auto", ENGINE.Settings(), ENGINE.groups)
    with pytest.raises(WeightsMissingError, match=r"are missing.*: snakefold weights fetch flashabb$"):
        ENGINE.parameters(*ask)
    damage(elsewhere["variable"], flashabb_weights)
    with pytest.raises(WeightsMissingError, match=r"damaged.*: snakefold weights fetch flashabb /"):
        ENGINE.parameters(*ask)
    # A worker reads them through at once, when it loads them.
    found = ENGINE.parameters(*ask, whole=False)
    assert found is not None and found.folder == elsewhere["variable"] and not found.rehearsal


@pytest.mark.slow
def test_a_run_without_parameters_is_refused_by_the_plan(tmp_path: Path) -> None:
    (tmp_path / "my.fasta").write_text(f">trastuzumab-VH\n{HEAVY}\n")
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data")}
    environment.pop("SNAKEFOLD_WEIGHTS", None)

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("snakefold")), *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    done = call("run", "my.fasta", "--set", "engine=flashabb")
    assert done.returncode != 0
    assert "Fetch them with: snakefold weights fetch flashabb" in done.stdout + done.stderr
    assert not (tmp_path / "results" / "plan" / "batches.tsv").exists()
    assert not (tmp_path / "results" / "predictions").exists()
    # The price needs no parameters.
    done = call("plan", "my.fasta", "--set", "engine=flashabb")
    assert done.returncode == 0, done.stderr
    assert "snakefold weights fetch flashabb" in done.stdout + done.stderr
