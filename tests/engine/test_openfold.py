"""OpenFold's parameters: converted bit for bit, refused by name, and run as AlphaFold2's own."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snakefold import engines
from snakefold.cli import main
from snakefold.config import load_config
from snakefold.engines.alphafold2 import rehearsal
from snakefold.engines.alphafold2.parameters import read_rehearsal_mark, rehearsal_mark
from snakefold.engines.openfold import convert, kinds, names, weights
from snakefold.engines.spec import Engine, settings_of
from snakefold.kernel import archive
from snakefold.kernel.contracts import Confidence, FoldRequest, RelaxSettings
from snakefold.kernel.errors import Reason, SnakefoldError, TargetError, WeightsMissingError
from snakefold.kernel.notes import Code
from snakefold.run.task import read_response
from tests.engine.openfold_state import WRAPPED, State, arrays_of, digest, older, state_of
from tests.engine.torch_files import state_checkpoint, torch_names
from tests.engine.toys import chain_msas, make_request, make_target

__all__ = ["torch_names"]
ENGINE = engines.get("openfold")
REFERENCE = json.loads(Path(__file__).with_name("openfold_reference.json").read_text())
#: Published files of each kind, and their arrays.
FILES = {
    "finetuning_ptm_2": 338,
    "finetuning_no_templ_ptm_1": 267,
    "finetuning_5": 336,
    "finetuning_no_templ_2": 265,
}
SEQUENCE = "MKTAYIAKQRQISFVKSHF"
MARK = rehearsal_mark({"blocks": 1})


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with random parameters of every kind, of one block."""
    folder = tmp_path_factory.mktemp("openfold")
    weights.draw(folder, FILES, 1)
    return folder


@pytest.fixture(scope="module")
def state(drawn: Path) -> State:
    """OpenFold's tensors of the smallest kind."""
    return state_of(arrays_of(weights.parameters_file(drawn, "finetuning_no_templ_2")))


def write_checkpoint(path: Path, state: State, wrap: str = "plain", mark: bytes = MARK) -> Path:
    """A checkpoint of random parameters, which says so."""
    path.write_bytes(state_checkpoint(state, WRAPPED[wrap][1]))
    with zipfile.ZipFile(path, "a") as file:
        file.comment = mark
    return path


# ---- conversion ------------------------------------------------------------------------------------------
def test_tensors_are_those_that_openfold_itself_imports(drawn: Path) -> None:
    """Names, shapes and numbers, as OpenFold's own code made them of the same random parameters."""
    first, *others = FILES
    found = {
        name: digest(tensor)
        for name, tensor in state_of(arrays_of(weights.parameters_file(drawn, first))).items()
    }
    assert found == REFERENCE[first]
    for name in others[:1]:
        found = {
            key: digest(each)
            for key, each in state_of(arrays_of(weights.parameters_file(drawn, name))).items()
        }
        text = json.dumps(found, sort_keys=True).encode()
        assert [len(found), hashlib.sha256(text).hexdigest()] == REFERENCE[name]


@pytest.mark.parametrize(
    ("name", "release", "wrap"),
    [
        ("finetuning_ptm_2", 1, "ema"),
        ("finetuning_no_templ_ptm_1", 2, "plain"),
        ("finetuning_5", 2, "state_dict"),
        ("finetuning_no_templ_2", 1, "plain"),
    ],
)
def test_random_parameters_come_back_bit_for_bit(
    drawn: Path, tmp_path: Path, name: str, release: int, wrap: str
) -> None:
    given = arrays_of(weights.parameters_file(drawn, name))
    state = state_of(given)
    before = WRAPPED[wrap][0]
    named = {before + (older(key) if release == 1 else key): tensor for key, tensor in state.items()}
    read = convert.read(write_checkpoint(tmp_path / f"{name}.pt", named, wrap))
    back = dict(read.arrays())
    assert read.kind == kinds.kind_of_name(name) == kinds.kind_of_arrays(given)
    assert len(given) == FILES[name]
    assert list(back) == list(given)
    for key, array in given.items():
        assert back[key].dtype == np.float32
        assert back[key].tobytes() == array.tobytes(), key
    assert state_of(back).keys() == read.tensors.keys()
    assert all(np.array_equal(tensor, read.tensors[key]) for key, tensor in state_of(back).items())


def test_the_command_writes_into_the_weights_folder(
    drawn: Path,
    tmp_path: Path,
    state: State,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SNAKEFOLD_WEIGHTS", str(tmp_path / "weights"))
    source = write_checkpoint(tmp_path / "finetuning_no_templ_2.pt", state)
    path = tmp_path / "weights" / "openfold" / "params_finetuning_no_templ_2.npz"
    assert main(["weights", "convert", str(source)]) == 0
    # A rehearsal stays one, and the bytes are those that were drawn but for what they were drawn from.
    assert read_rehearsal_mark(path) == {"blocks": 1}
    original = weights.parameters_file(drawn, "finetuning_no_templ_2")
    assert path.read_bytes()[:1000] == original.read_bytes()[:1000]
    said = capsys.readouterr().out
    assert f"{path}: 265 arrays" in said
    assert "no pTM head: gives no PAE and no pTM" in said
    assert "REHEARSAL" in said
    before = path.stat().st_mtime_ns
    assert main(["weights", "convert", str(source)]) == 0
    assert path.stat().st_mtime_ns == before
    assert "already" in capsys.readouterr().out
    other = write_checkpoint(
        tmp_path / "other.pt", {**state, "aux_heads.plddt.linear_1.bias": np.ones(128, "f4")}
    )
    assert main(["weights", "convert", str(other), "--out", str(path)]) != 0
    assert "holds other parameters, which are not overwritten" in capsys.readouterr().err
    assert main(["weights", "convert", str(other), "--engine", "flashabb"]) != 0
    assert "Engines that do: openfold" in capsys.readouterr().err
    assert main(["weights", "check", "openfold", str(tmp_path / "weights")]) == 0
    assert "rehearsal params_finetuning_no_templ_2.npz" in capsys.readouterr().out


def without(state: State, *lost: str) -> State:
    return {name: tensor for name, tensor in state.items() if name not in lost}


BIAS = "structure_module.bb_update.linear.bias"
WRONG: dict[str, tuple[Callable[[State], State], bytes, str]] = {
    "a tensor is missing": (lambda state: without(state, BIAS), MARK, f"lacks 1 of .* first {BIAS}"),
    "another network": (
        lambda state: {"layers.0.weight": np.ones((2, 3), np.float32)},
        MARK,
        "lacks .* tensors, first aux_heads",
    ),
    "more than the network has": (
        lambda state: {**state, "template_single.x": np.ones(3, np.float32)},
        MARK,
        "lacks .* first .*template_embedder",
    ),
    "tensors of a complex": (
        lambda state: {**state, "input_embedder.linear_chain.weight": np.ones(3, np.float32)},
        MARK,
        "has 1 tensors of another network, first 'input_embedder.linear_chain.weight'",
    ),
    "another shape": (
        lambda state: {**state, BIAS: np.ones(7, np.float32)},
        MARK,
        rf"{BIAS} has shape \(7,\)",
    ),
    "few blocks that are not random": (lambda state: state, b"", "has 1 Evoformer blocks, .* 48"),
}


@pytest.mark.parametrize(("change", "mark", "says"), WRONG.values(), ids=WRONG.keys())
def test_another_networks_file_is_refused(
    tmp_path: Path, state: State, change: Callable[[State], State], mark: bytes, says: str
) -> None:
    path = write_checkpoint(tmp_path / "x.pt", change(state), mark=mark)
    out = tmp_path / "out.npz"
    with pytest.raises(WeightsMissingError, match=rf"x\.pt: .*{says}.*Expected a checkpoint of OpenFold"):
        weights.convert(path, tmp_path, out, print)
    assert not out.exists()
    assert not list(tmp_path.glob(".out*"))


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    with (tmp_path / "npz.pt").open("wb") as stream:
        np.savez(stream, x=np.ones(3))
    (tmp_path / "list.pt").write_bytes(state_checkpoint({}, lambda _: [1, 2]))
    for name, says in {
        "text.pt": "not a zip file",
        "npz.pt": "it has no data.pkl",
        "list.pt": "is no dictionary of tensors",
        "nowhere.pt": "there is no such file",
        "": "there is no such file",
    }.items():
        with pytest.raises(WeightsMissingError, match=rf"{name}.*{says}.*Expected a checkpoint of OpenFold"):
            weights.convert(tmp_path / name, tmp_path, None, print)


def test_constants_of_the_network_are_no_parameters(tmp_path: Path, state: State) -> None:
    more = {**state, "structure_module.default_frames": np.ones((21, 8, 4, 4), np.float32)}
    assert len(dict(convert.read(write_checkpoint(tmp_path / "x.pt", more)).arrays())) == 265


def test_names_of_release_1_are_those_of_release_2() -> None:
    assert names.current("module.model.evoformer.blocks.3.core.tri_mul_in.linear_a_p.bias") == (
        "evoformer.blocks.3.pair_stack.tri_mul_in.linear_a_p.bias"
    )
    for name in REFERENCE["finetuning_ptm_2"]:
        assert names.current(name) == names.current(older(name)) == names.current(f"model.{name}") == name


# ---- the engine ------------------------------------------------------------------------------------------
def openfold_request(*parameters: str, **settings: Any) -> FoldRequest:
    """As `make_request`, of the other engine."""
    request = make_request([make_target("t", SEQUENCE)])
    small = {"parameters": list(parameters), "num_recycle": 0, "precision": "float32"}
    chosen = ENGINE.Settings.model_validate(small | settings).model_dump(mode="json")
    return request.model_copy(update={"engine": "openfold", "settings": chosen, "rehearsal": True})


def test_it_follows_the_protocol_and_refuses_complexes() -> None:
    assert isinstance(ENGINE, Engine)
    with pytest.raises(TargetError, match="2 chains: OpenFold's parameters are of monomers") as caught:
        ENGINE.check(make_target("ab", SEQUENCE, SEQUENCE), ENGINE.Settings())
    assert caught.value.reason is Reason.INVALID_INPUT
    assert "alphafold2" in caught.value.advice
    ENGINE.check(make_target("a", SEQUENCE), ENGINE.Settings())


def test_no_cost_falls_with_the_size_and_kinds_are_programs() -> None:
    def work(*parameters: str, **more: Any) -> Any:
        settings = ENGINE.Settings.model_validate({"parameters": list(parameters), **more})
        return ENGINE.work("monomer", settings, RelaxSettings())

    one, all_of_them = work("finetuning_ptm_2"), work(*FILES, use_templates=True)
    for each in (one, all_of_them):
        assert each.engine == "openfold"
        assert np.all(np.diff(each.network_seconds([10, 100, 1000], "gpu", 1.0)) >= 0)
    assert (one.programs, one.models, one.predictions) == (1, 1, 1)
    assert (all_of_them.programs, all_of_them.models) == (4, 4)
    assert work(*FILES).programs == 2


def test_its_recipes_are_its_own(drawn: Path) -> None:
    settings = settings_of(ENGINE, openfold_request("finetuning_ptm_2"))
    recipe = ENGINE.recipe("monomer", settings, drawn)
    assert json.loads(json.dumps(recipe)) == recipe
    assert recipe["engine"] == "openfold"
    assert recipe["weights"] == {"rehearsal": True, "blocks": 1, "seed": 0, "drawing": rehearsal.DRAWING}
    alphafold2 = engines.get("alphafold2")
    rehearsal.draw(drawn, ["model_1_ptm"], 1)
    theirs = alphafold2.recipe("monomer", alphafold2.Settings(models=[1]), drawn)
    assert theirs != recipe
    other = settings.model_copy(update={"parameters": ["finetuning_5"]})
    assert ENGINE.recipe("monomer", other, drawn) != recipe


def test_converted_files_are_named_by_their_bytes(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = weights.parameters_file(tmp_path, "mine")
    path.parent.mkdir()
    shutil.copy(weights.parameters_file(drawn, "finetuning_ptm_2"), path)
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b""
    assert weights.identity(tmp_path, ["mine"])["mine"]["size"] == path.stat().st_size
    settings = ENGINE.Settings(parameters=["mine"])
    with pytest.raises(WeightsMissingError, match=r"1 Evoformer blocks, expected 48.*weights convert"):
        ENGINE.parameters(str(tmp_path), settings, ["monomer"])
    with pytest.raises(WeightsMissingError, match=r"lacks params_finetuning_ptm_2\.npz.*weights convert"):
        ENGINE.parameters(str(tmp_path), ENGINE.Settings(), ["monomer"])
    weights.draw(tmp_path, ["finetuning_ptm_2"], 1)
    with pytest.raises(WeightsMissingError, match="mixes random and other"):
        weights.identity(tmp_path, ["mine", "finetuning_ptm_2"])
    lines: list[str] = []
    assert not weights.check(tmp_path, lines.append)
    path.write_bytes(b"")
    assert not weights.check(tmp_path, lines.append)
    assert sum("damaged" in line for line in lines) == 2
    with pytest.raises(SnakefoldError, match=r"no published checksums.*weights convert"):
        weights.fetch(tmp_path, None, print)


def test_a_rehearsal_is_drawn_where_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNAKEFOLD_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    config = load_config({"engine": "openfold", "rehearsal": {"blocks": 1}})
    settings = config.settings_of("openfold", rehearsal=True)
    assert (settings.num_recycle, settings.max_msa_clusters) == (1, 32)
    assert ENGINE.parameters("auto", settings, ["monomer"]) is None
    found = ENGINE.parameters("auto", settings, ["monomer"], draw=settings, blocks=1, cache=tmp_path)
    assert found is not None and found.rehearsal and found.blocks == 1
    assert ENGINE.parameters(str(found.folder), settings, ["monomer"]) == found
    assert "REHEARSAL" in (found.folder / "openfold" / "REHEARSAL.txt").read_text()


def test_results_are_alphafold2s_own_on_the_same_parameters(drawn: Path, tmp_path: Path) -> None:
    """Converted files, one with templates in it and one without, and AlphaFold2's models 1 and 3 of them."""
    pairs = {"finetuning_ptm_2": "model_1_ptm", "finetuning_no_templ_ptm_1": "model_3_ptm"}
    (tmp_path / "params").mkdir()
    for name, model in pairs.items():
        source = write_checkpoint(
            tmp_path / f"{name}.pt", state_of(arrays_of(weights.parameters_file(drawn, name)))
        )
        path = weights.convert(source, tmp_path, None, lambda _: None)
        shutil.copy(path, tmp_path / "params" / f"params_{model}.npz")
    request = openfold_request(*pairs)
    (target,) = request.targets
    msas = chain_msas(target, 8)
    given = {target.result_key: msas}
    found = ENGINE.start(request, given, tmp_path, None).predict(target, msas).predictions
    alphafold2 = engines.get("alphafold2").start(make_request([target], models=[1, 3]), given, tmp_path, None)
    theirs = alphafold2.predict(target, msas).predictions
    assert [each.name for each in found] == [f"{name}_pred_0" for name in pairs]
    for ours, other in zip(found, theirs, strict=True):
        assert (ours.pdb, ours.ptm, ours.iptm) == (other.pdb, other.ptm, None)
        assert ours.plddt.tobytes() == other.plddt.tobytes()
        assert ours.pae is not None and other.pae is not None
        assert ours.pae.tobytes() == other.pae.tobytes()
    assert found[0].pdb != found[1].pdb


def test_a_task_without_a_ptm_head_gives_structures_and_neither_pae_nor_ptm(
    drawn: Path, tmp_path: Path
) -> None:
    request = openfold_request("finetuning_no_templ_2").model_copy(
        update={"relax": RelaxSettings(models_to_relax="none")}
    )
    (target,) = request.targets
    (tmp_path / "request.json").write_text(request.model_dump_json())
    rows = {f"chains/{target.key}/msa.a3m": chain_msas(target, 8).chains[0].a3m.encode()}
    (tmp_path / "inputs.tar.zst").write_bytes(archive.pack(rows))
    out = tmp_path / "out.tar.zst"
    words = ["--out", str(out), "--store", str(tmp_path / "store"), "--weights", str(drawn)]
    assert main(["task", str(tmp_path / "request.json"), *words]) == 0
    packed = archive.unpack(out.read_bytes())
    response = read_response(packed)
    assert [outcome.state for outcome in response.outcomes] == ["done"], response.outcomes
    files = archive.unpack(packed[f"targets/{target.result_key}.tar.zst"])
    assert b"REHEARSAL" in files["ranked_0.pdb"] and b"REHEARSAL" in files["ranked_0.cif"]
    assert json.loads(files["ranking_debug.json"])["order"] == ["finetuning_no_templ_2_pred_0"]
    assert "pae.npz" not in files
    assert b"_ma_qa_metric" in files["ranked_0.cif"] and b"PAE" not in files["ranked_0.cif"]
    found = Confidence.model_validate_json(files["confidence.json"])
    assert found.rehearsal and found.engine == "openfold"
    (model,) = found.models
    assert (model.ptm, model.iptm, model.max_pae) == (None, None, None)
    assert f"{Code.NO_PAE}: finetuning_no_templ_2" in found.warnings
