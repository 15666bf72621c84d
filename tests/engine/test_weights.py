"""Where parameters come from, and that random ones are never taken for official ones."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from snakefold.engines.alphafold2 import parameters, rehearsal, weights, weights_whole
from snakefold.engines.alphafold2.layout import expected_shapes, groups_of
from snakefold.engines.alphafold2.models import MODEL_NUMBERS, model_name, parse_name
from snakefold.engines.alphafold2.settings import RehearsalSettings
from snakefold.engines.weights_folder import default_folder
from snakefold.kernel.errors import WeightsMissingError
from tests.engine.toys import TOY_PARAMETERS as TOY
from tests.engine.traced import KINDS, traced_shapes

ONE = ["model_3_ptm"]


@pytest.fixture(autouse=True)
def no_parameters_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(weights.ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights_whole, "_known", set())


def official_looking(folder: Path, name: str = ONE[0]) -> Path:
    """A file without the rehearsal's mark, which is whole for the toy network."""
    path = folder / "params" / f"params_{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{key: np.zeros(shape, np.float32) for key, shape in TOY.items()})
    return path


@pytest.mark.parametrize("name", ["model_1_ptm", "model_3", "model_1_multimer_v3", "model_1_multimer"])
def test_the_table_of_parameters_is_that_of_the_network(name: str) -> None:
    """These models have every row of the table; three blocks, for no other dimension is three."""
    traced = traced_shapes(name, 3)
    assert list(expected_shapes(name, 3).items()) == sorted(traced.items())


@pytest.mark.usefixtures("toy_network")
def test_random_parameters_do_not_stand_in_for_further_ones(tmp_path: Path) -> None:
    """Who has the official parameters, and asks for others, is told how to get them."""
    asked = ["model_1_multimer_v2"]
    assert weights.find("auto", asked) is None
    official_looking(default_folder())
    with pytest.raises(WeightsMissingError, match=r"multimer_v2\.npz.*fetch multimer_v2"):
        weights.locate("auto", RehearsalSettings(), asked, cache=tmp_path)


@pytest.mark.parametrize("name", KINDS)
def test_models_share_the_shapes_of_their_kind(name: str) -> None:
    preset, number = parse_name(name)
    others = [
        model_name(preset, each)
        for each in MODEL_NUMBERS
        if groups_of(preset, each) == groups_of(preset, number)
    ]
    assert len(others) == (5 if preset.multimer else 2 if number == 1 else 3)
    assert all(expected_shapes(each, 2) == expected_shapes(name, 2) for each in others)


def test_shapes_are_those_of_the_official_files() -> None:
    with_templates = expected_shapes("model_1_ptm")
    without = expected_shapes("model_3_ptm")
    assert (len(with_templates), len(without)) == (338, 267)
    # The official files' sizes less what zip and npy headers take: 373,103,340 and 371,746,284 bytes.
    assert 4 * sum(int(np.prod(shape)) for shape in with_templates.values()) == pytest.approx(373e6, rel=1e-3)
    assert 4 * sum(int(np.prod(shape)) for shape in without.values()) == pytest.approx(371.7e6, rel=1e-3)


def test_a_drawn_file_is_marked_and_drawn_once(weights_folder: Path, tmp_path: Path) -> None:
    path = weights_folder / "params" / "params_model_3_ptm.npz"
    assert parameters.read_rehearsal_mark(path) == {"blocks": 2, "seed": 0, "drawing": rehearsal.DRAWING}
    assert parameters.count_blocks(path) == 2
    assert "REHEARSAL" in (weights_folder / "params" / "REHEARSAL.txt").read_text()
    before = path.stat().st_mtime_ns
    rehearsal.draw(weights_folder, ONE, 2)
    assert path.stat().st_mtime_ns == before
    # The mark stays with the file when it is renamed, and a reader of npz does not see it.
    copy = Path(shutil.copy(path, tmp_path / "params_model_1.npz"))
    assert parameters.read_rehearsal_mark(copy) is not None
    with np.load(copy) as arrays:
        assert len(arrays.files) == 267


def test_the_same_seed_gives_the_same_numbers(weights_folder: Path, tmp_path: Path) -> None:
    rehearsal.draw(tmp_path, ONE, 2)
    rehearsal.draw(tmp_path / "other", ONE, 2, seed=1)
    key = "alphafold/alphafold_iteration/evoformer/preprocess_msa//weights"
    first, again, other = (
        np.load(folder / "params" / "params_model_3_ptm.npz")[key]
        for folder in (weights_folder, tmp_path, tmp_path / "other")
    )
    assert (first == again).all()
    assert not (first == other).any()


def test_drawn_numbers_are_the_same_on_every_machine(tmp_path: Path) -> None:
    """Whoever changes them raises `DRAWING`: results of other parameters are other results."""
    (path,) = rehearsal.draw(tmp_path, ONE, 1)
    drawn = hashlib.sha256()
    with np.load(path) as arrays:
        for key in arrays.files:
            drawn.update(key.encode() + arrays[key].astype("<f4").tobytes())
    assert (rehearsal.DRAWING, drawn.hexdigest()[:16]) == (3, "3d5498ff468c612d")


def test_weights_have_the_variance_of_their_inputs(weights_folder: Path) -> None:
    evoformer = "alphafold/alphafold_iteration/evoformer"
    attention = f"{evoformer}/evoformer_iteration/msa_row_attention_with_pair_bias/attention"
    with np.load(weights_folder / "params" / "params_model_3_ptm.npz") as arrays:
        # 49 features; 256 channels; 8 heads of 32 channels.
        for key, inputs in (
            (f"{evoformer}/preprocess_msa//weights", 49),
            (f"{attention}//query_w", 256),
            (f"{attention}//output_w", 256),
        ):
            values = arrays[key].astype(np.float64)
            assert values.mean() == pytest.approx(0, abs=4 / np.sqrt(inputs * values.size))
            assert values.var() * inputs == pytest.approx(1, rel=0.03)
            assert np.abs(values).max() <= np.sqrt(3 / inputs)
        assert not arrays[f"{attention}//output_b"].any()


def test_a_drawing_of_other_blocks_replaces_the_old_one(tmp_path: Path) -> None:
    rehearsal.draw(tmp_path, ONE, 1)
    rehearsal.draw(tmp_path, ONE, 2)
    assert parameters.count_blocks(tmp_path / "params" / "params_model_3_ptm.npz") == 2


def test_official_files_are_never_drawn_over(tmp_path: Path) -> None:
    path = official_looking(tmp_path)
    before = path.read_bytes()
    with pytest.raises(WeightsMissingError, match="not overwritten"):
        rehearsal.draw(tmp_path, ONE, 2)
    assert path.read_bytes() == before


def test_auto_draws_a_rehearsal_where_there_is_nothing(tmp_path: Path) -> None:
    found = weights.locate("auto", RehearsalSettings(blocks=1), ONE, cache=tmp_path)
    assert found == weights.Weights(tmp_path / "rehearsal-1-blocks", rehearsal=True, blocks=1)


def test_auto_takes_the_users_folder(tmp_path: Path, toy_network: list[str]) -> None:
    official_looking(default_folder())
    found = weights.locate("auto", RehearsalSettings(), ONE, cache=tmp_path)
    assert found == weights.Weights(default_folder(), rehearsal=False)


def test_auto_does_not_replace_half_of_the_official_set(tmp_path: Path, toy_network: list[str]) -> None:
    official_looking(default_folder())
    with pytest.raises(WeightsMissingError, match=r"lacks params_model_4_ptm\.npz.*weights fetch"):
        weights.locate("auto", RehearsalSettings(), [*ONE, "model_4_ptm"], cache=tmp_path)


def test_the_environment_names_a_folder_that_must_be_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_network: list[str]
) -> None:
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path / "mine"))
    with pytest.raises(WeightsMissingError, match="SNAKEFOLD_WEIGHTS"):
        weights.locate("auto", RehearsalSettings(), ONE, cache=tmp_path)
    official_looking(tmp_path / "mine")
    assert weights.locate("auto", RehearsalSettings(), ONE, cache=tmp_path).folder == tmp_path / "mine"


def test_a_named_folder_of_random_parameters_is_a_rehearsal(weights_folder: Path) -> None:
    found = weights.locate(str(weights_folder), RehearsalSettings(blocks=48), ONE)
    assert found == weights.Weights(weights_folder, rehearsal=True, blocks=2)


def test_the_npz_files_may_lie_in_the_folder_itself(weights_folder: Path) -> None:
    assert weights.locate(str(weights_folder / "params"), RehearsalSettings(), ONE).rehearsal


def test_random_and_official_files_are_not_mixed(weights_folder: Path, tmp_path: Path) -> None:
    official_looking(tmp_path)
    shutil.copy(weights_folder / "params" / "params_model_1_ptm.npz", tmp_path / "params")
    with pytest.raises(WeightsMissingError, match="mixes"):
        weights.identity(tmp_path, [*ONE, "model_1_ptm"])


def test_official_files_are_identified_by_their_bytes(tmp_path: Path) -> None:
    path = official_looking(tmp_path)
    before = weights.identity(tmp_path, ONE)
    assert before["model_3_ptm"]["size"] == path.stat().st_size
    np.savez(path, **{"alphafold//weights": np.ones(3)})
    assert weights.identity(tmp_path, ONE) != before


def test_check_says_what_is_missing_damaged_or_random(weights_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "params"
    folder.mkdir()
    source = (weights_folder / "params" / "params_model_3_ptm.npz").read_bytes()
    (folder / "params_model_3_ptm.npz").write_bytes(source)
    middle = len(source) // 2
    (folder / "params_model_4_ptm.npz").write_bytes(
        source[:middle] + bytes([source[middle] ^ 1]) + source[middle + 1 :]
    )
    (folder / "params_model_5_ptm.npz").write_bytes(source[:middle])
    shutil.copy(weights_folder / "params" / "params_model_3_ptm.npz", folder / "params_model_1_ptm.npz")
    names = [f"model_{number}_ptm" for number in (1, 2, 3, 4, 5)]
    states = {state.name: state for state in weights.check(tmp_path, names)}
    assert [states[name].state for name in names] == ["damaged", "missing", "rehearsal", "damaged", "damaged"]
    assert "arrays are missing" in states["model_1_ptm"].problem
    assert "checksum" in states["model_4_ptm"].problem
    lines: list[str] = []
    assert weights.report_check(tmp_path, lines.append, names) == 1
    assert len(lines) == 5
    assert weights.report_check(tmp_path, lines.append, ONE) == 0


def test_check_does_not_take_few_blocks_for_official(weights_folder: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(weights_folder / "params" / "params_model_3_ptm.npz", tmp_path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b""
    (state,) = weights.check(tmp_path, ONE)
    assert state.state == "damaged"
    assert "2 Evoformer blocks, expected 48" in state.problem


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def another_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.jpg", b"\xff\xd8")


def another_npz(path: Path) -> None:
    np.savez(path, x=np.zeros(3, np.float32))


def other_type(path: Path) -> None:
    np.savez(path, **{key: np.zeros(shape) for key, shape in TOY.items()})


def other_shape(path: Path) -> None:
    np.savez(path, **{key: np.zeros(shape[:1], np.float32) for key, shape in TOY.items()})


def one_missing(path: Path) -> None:
    np.savez(path, **{parameters._COUNTED: np.zeros((48, 3), np.float32)})


DAMAGE = {
    flipped: "damaged",
    another_zip: "cannot be read",
    another_npz: "no AlphaFold2 parameter file: it holds 1 other arrays, the first is 'x'",
    other_type: "is float64, expected float32",
    other_shape: r"has shape \(48,\), expected \(48, 3\)",
    one_missing: "not the parameters of model_3_ptm: 1 of 2 arrays are missing, first alphafold//weights",
    lambda path: path.write_bytes(path.read_bytes()[:-30]): "no|not",
    lambda path: path.write_bytes(b""): "found a damaged file",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_files_that_are_not_whole_stop_the_plan(
    tmp_path: Path, toy_network: list[str], damage: Callable[[Path], object]
) -> None:
    path = official_looking(tmp_path)
    weights.locate(str(tmp_path), RehearsalSettings(), ONE)
    damage(path)
    with pytest.raises(WeightsMissingError, match=DAMAGE[damage]) as caught:
        weights.locate(str(tmp_path), RehearsalSettings(), ONE)
    assert str(path) in str(caught.value)
    assert "weights fetch" in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_file_is_read_through_once(
    tmp_path: Path, toy_network: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By this process and, remembered in the user's cache folder, by those that come after it."""
    read: list[Path] = []
    real = weights_whole.zip_problem
    monkeypatch.setattr(weights_whole, "zip_problem", lambda path: read.append(path) or real(path))
    path = official_looking(tmp_path)

    def plan(*, new_process: bool = True) -> int:
        read.clear()
        if new_process:
            weights_whole._known.clear()
        weights.locate(str(tmp_path), RehearsalSettings(), ONE)
        return len(read)

    assert [plan(), plan(), plan(new_process=False)] == [1, 0, 0]
    # A file with another time is another one; and a look at what the worker loads at once is not paid for.
    path.touch()
    assert [plan(), plan()] == [1, 0]
    path.touch()
    read.clear()
    assert weights.find(str(tmp_path), ONE, whole=False) is not None
    assert read == []


@pytest.mark.parametrize("home", ["read-only", "absent"])
def test_remembering_needs_no_home(
    tmp_path: Path, toy_network: list[str], monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.delenv("XDG_CACHE_HOME")
    if home == "absent":
        # As for a user id without an entry: nothing that `~` stands for.
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    official_looking(tmp_path)
    for _ in range(2):
        weights_whole._known.clear()
        weights.locate(str(tmp_path), RehearsalSettings(), ONE)
    assert len(toy_network) == 1
    assert sorted(each.name for each in tmp_path.iterdir() if each.name != "file") == ["params", "tmp"]
    # Nowhere at all: every process looks for itself.
    (tmp_path / "tmp").rename(tmp_path / "away")
    (tmp_path / "tmp").touch()
    weights_whole._known.clear()
    weights.locate(str(tmp_path), RehearsalSettings(), ONE)
    assert len(toy_network) == 2


def test_damage_that_shows_when_a_file_is_loaded_names_it(tmp_path: Path) -> None:
    path = official_looking(tmp_path)
    flipped(path)
    with pytest.raises(WeightsMissingError, match=rf"{path}: the file is damaged"):
        parameters.load(tmp_path, ONE[0], templates=True)
