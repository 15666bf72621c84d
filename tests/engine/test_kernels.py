"""Fused kernels: which are taken, as ColabFold takes them, and what they compute."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from alphafold.model import tri_flash, tri_mul
from colabfold.alphafold import models as colabfold

from snakefold.engines.alphafold2 import ENGINE, kernels
from snakefold.engines.alphafold2.models import Network, configuration
from snakefold.engines.alphafold2.session import AlphaFold2Session
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, Kernels, ModelPreset
from snakefold.engines.alphafold2.shapes import MsaShape
from snakefold.engines.openfold import ENGINE as OPENFOLD
from snakefold.engines.openfold.settings import OpenFoldSettings
from snakefold.engines.spec import Hardware, TargetMsas
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import TargetError
from tests.engine.fused import half, interpreted
from tests.engine.toys import chain_msas, make_request, make_target

PRESETS = {
    "alphafold2": ModelPreset.MONOMER,
    "alphafold2_ptm": ModelPreset.MONOMER_PTM,
    "alphafold2_multimer_v3": ModelPreset.MULTIMER,
    "alphafold2_multimer_v2": ModelPreset.MULTIMER_V2,
    "alphafold2_multimer_v1": ModelPreset.MULTIMER_V1,
    "deepfold_v1": ModelPreset.DEEPFOLD,
}


def put_in(monkeypatch: pytest.MonkeyPatch, capability: str | None) -> None:
    """A device that JAX sees: an NVIDIA GPU, or a CPU."""
    device = SimpleNamespace(platform="cpu")
    if capability is not None:
        device = SimpleNamespace(platform="gpu", compute_capability=capability)
    monkeypatch.setattr(jax, "devices", lambda *_: [device])


# ---- which kernels: those of ColabFold -------------------------------------------------------------------
@pytest.mark.parametrize("capability", [None, "7.0", "7.5", "8.0", "8.9", "9.0", "12.0"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_configuration_is_colabfolds_on_the_same_device(
    capability: str | None, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(monkeypatch, capability)
    monkeypatch.setattr(colabfold, "get_model_haiku_params", lambda **_: {})
    settings = AlphaFold2Settings(num_recycle=2, kernels=Kernels.FUSED if fused else Kernels.STOCK)
    running = kernels.running(settings)
    assert bool(running.missing) == (fused and capability is None)
    for kind, preset in PRESETS.items():
        multimer = preset.multimer
        theirs = colabfold.load_models_and_params(
            num_models=5,
            use_templates=True,
            num_recycles=2,
            recycle_early_stop_tolerance=0.0,
            model_type=kind,
            rank_by="multimer" if multimer else "plddt",
            max_seq=8,
            max_extra_seq=16,
            use_fast_kernels=fused,
        )
        for name, runner, _ in theirs:
            ours = configuration(
                preset,
                templates=multimer or name in ("model_1", "model_2"),
                settings=settings,
                shape=MsaShape(8, 16, 12),
                blocks=48,
                running=running,
            ).to_dict()
            assert ours == runner.config.to_dict(), (kind, name)
            assert ours["model"]["global_config"]["use_pallas"] == (fused and capability is not None)


def test_float32_is_refused_as_by_colabfold() -> None:
    for settings in (AlphaFold2Settings, OpenFoldSettings):
        assert settings(precision="float32").kernels is Kernels.AUTO
        with pytest.raises(ValueError, match="pallas needs precision: bfloat16"):
            settings(precision="float32", kernels="pallas")


@pytest.mark.parametrize(
    ("wanted", "capability", "ran", "missing"),
    [
        ("fused", None, "stock", "there is no GPU"),
        ("pallas", "7.5", "stock", "the GPU is sm_75"),
        # ColabFold computes in float16 there, and without kernels.
        ("fused", "6.0", "stock", "the GPU is sm_60"),
        ("cuda_legacy", "8.6", "stock", "has none for sm_86"),
        ("pallas", "8.6", "pallas", ""),
        ("cuda_legacy", "7.0", "cuda_legacy", ""),
        ("auto", "8.6", "stock", ""),  # of a request that no plan made: as before there were any
    ],
)
def test_a_worker_runs_what_it_can_and_says_what_it_cannot(
    wanted: str, capability: str | None, ran: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(monkeypatch, capability)
    found = kernels.running(AlphaFold2Settings(kernels=wanted))
    assert found.kernels == ran
    assert missing in found.missing and bool(missing) == bool(found.missing)


def test_cuda_kernels_that_are_not_installed_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    from alphafold.model import volta_attn

    put_in(monkeypatch, "7.5")
    monkeypatch.setattr(volta_attn, "_LOADED", {})
    monkeypatch.setattr(volta_attn, "_package_path", lambda *_: None)
    found = kernels.running(AlphaFold2Settings(kernels="fused"))
    assert found.kernels is Kernels.STOCK
    assert "not installed" in found.missing


def opened(target: TargetInput, msas: TargetMsas, wanted: str) -> AlphaFold2Session:
    """A session without networks."""

    def none(preset: ModelPreset) -> list[Network]:
        return []

    request = make_request([target], precision="bfloat16", kernels=wanted)
    settings = AlphaFold2Settings.model_validate(request.settings)
    return AlphaFold2Session(
        request,
        {target.result_key: msas},
        settings=settings,
        preset=settings.model_preset,
        networks=none,
        advice="",
        cache=None,
    )


def test_kernels_that_fail_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    target = make_target("t", "MKTAYIAKQRQISFVKSH")
    msas = chain_msas(target, 3)
    monkeypatch.setattr(kernels, "running", lambda settings: kernels.Running(settings.kernels))

    def fails(*_: Any) -> None:
        raise RuntimeError("no such instruction")

    for wanted, raised in (("pallas", TargetError), ("stock", RuntimeError)):
        session = opened(target, msas, wanted)
        monkeypatch.setattr(session, "_timed", fails)
        with pytest.raises(raised, match="no such instruction") as caught:
            session.predict(target, msas)
        if wanted == "pallas":
            assert caught.value.advice.startswith("Set alphafold2.kernels to stock")


def test_a_result_says_what_ran() -> None:
    """Here, where there is no GPU. Networks are left out: their numbers are another matter."""
    target = make_target("t", "MKTAYIAKQRQISFVKSH")
    msas = chain_msas(target, 3)

    stock, fused = (opened(target, msas, each).predict(target, msas) for each in ("stock", "pallas"))
    assert (stock.as_planned, fused.as_planned) == (True, False)
    assert stock.scores == fused.scores == stock.ran == fused.ran == {"kernels": "stock"}
    assert (stock.notes, fused.notes) == (
        [],
        ["without_kernels: pallas was asked for, and there is no GPU that JAX sees"],
    )


# ---- what a run takes, and its name ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("capabilities", "auto", "fused"),
    [
        ({"a": 80, "b": 120}, "pallas", "pallas"),
        ({"a": 70, "b": 75}, "cuda_legacy", "cuda_legacy"),
        ({"a": 60}, "stock", None),
        ({"a": 75, "b": 80}, "stock", None),
        ({"a": None}, "stock", "pallas"),
        ({"a": 80, "b": None}, "stock", "pallas"),
    ],
)
def test_gpu_classes_decide(capabilities: dict[str, int | None], auto: str, fused: str | None) -> None:
    gpus = Hardware("gpu", capabilities)
    chosen = AlphaFold2Settings()
    assert ENGINE.settled(chosen, gpus).kernels == auto
    told = " ".join(ENGINE.caveats(chosen, gpus))
    sure = None not in capabilities.values()
    assert ("not known" in told) == (not sure)
    assert ("different kernels" in told) == (capabilities == {"a": 75, "b": 80})
    wanted = AlphaFold2Settings(kernels="fused")
    if fused is None:
        with pytest.raises(Exception, match=r"alphafold2\.kernels: fused: not every GPU class"):
            ENGINE.caveats(wanted, gpus)
    else:
        assert ENGINE.settled(wanted, gpus).kernels == fused
        assert bool(ENGINE.caveats(wanted, gpus)) == (not sure)


@pytest.mark.parametrize("device", ["cpu", ""])
def test_a_cpu_takes_none(device: str) -> None:
    where = Hardware(device, {"a": 80} if not device else {})
    assert ENGINE.settled(AlphaFold2Settings(), where).kernels is Kernels.STOCK
    for wanted in ("fused", "pallas"):
        with pytest.raises(Exception, match="need a GPU"):
            ENGINE.caveats(AlphaFold2Settings(kernels=wanted), where)


def test_kernels_of_another_age_are_refused() -> None:
    for wanted, capability in (("pallas", 75), ("cuda_legacy", 86)):
        with pytest.raises(Exception, match=rf"sm_{capability}"):
            ENGINE.caveats(AlphaFold2Settings(kernels=wanted), Hardware("gpu", {"a": capability}))


@pytest.mark.parametrize(
    ("said", "hardware"),
    [
        ("8.6\n8.6\n", Hardware("gpu", {"local": 86})),
        ("7.5\n8.6\n", Hardware("gpu", {"local (sm_75)": 75, "local (sm_86)": 86})),
        ("[N/A]\n", Hardware("gpu", {"local": None})),
        (None, Hardware("gpu", {"local": None})),
    ],
)
def test_this_machines_gpu_is_asked(
    said: str | None, hardware: Hardware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snakefold.config import load_config

    if said is not None:
        rows = "".join(f"{at}, GPU-{at}, some, 8192, {each}\\n" for at, each in enumerate(said.split()))
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{rows}'\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("snakefold.config.has_gpu", lambda: True)
    assert load_config({}).hardware == hardware


def test_a_table_of_ones_own_may_lack_it(tmp_path: Path) -> None:
    from snakefold.config import load_config

    table = "{title: x, speed: 1, speed_source: x}"
    (tmp_path / "own.yaml").write_text(f"a: {table}\nb: {table[:-1]}, compute_capability: 7}}\n")
    config = load_config({"gpu": {"classes": ["a", "b"], "table": str(tmp_path / "own.yaml")}})
    assert config.hardware == Hardware("gpu", {"a": None, "b": 70})
    (told,) = config.caveats_of("alphafold2")
    assert told.startswith(
        "alphafold2.kernels: auto takes stock, which is slower: the compute capability of a"
    )


def test_float32_and_rehearsals_take_none() -> None:
    gpu = Hardware("gpu", {"a": 80})
    assert ENGINE.settled(AlphaFold2Settings(precision="float32"), gpu).kernels is Kernels.STOCK
    assert ENGINE.caveats(AlphaFold2Settings(precision="float32"), Hardware("gpu", {"a": None})) == []
    from snakefold.engines.alphafold2.settings import RehearsalSettings

    for engine, settings in ((ENGINE, AlphaFold2Settings), (OPENFOLD, OpenFoldSettings)):
        random = RehearsalSettings()
        assert engine.settled(engine.rehearsed(settings(), random), gpu).kernels is Kernels.STOCK
        assert engine.rehearsed(settings(kernels="fused"), random).kernels is Kernels.FUSED


def test_results_of_other_kernels_have_another_name(weights_folder: Path) -> None:
    def recipe(wanted: str) -> dict[str, Any]:
        return ENGINE.recipe("monomer", AlphaFold2Settings(models=[1], kernels=wanted), weights_folder)

    assert recipe("stock") == recipe("auto")
    assert "kernels" not in {**recipe("stock"), **recipe("stock")["settings"]}, "as in stores of before"
    version = importlib.metadata.version
    assert recipe("pallas")["kernels"] == {
        "kind": "pallas",
        "alphafold-colabfold": version("alphafold-colabfold"),
    }
    assert recipe("cuda_legacy")["kernels"] == {
        "kind": "cuda_legacy",
        "colabfold-legacy-kernels": version("colabfold-legacy-kernels"),
    }
    assert len({str(recipe(each)) for each in Kernels}) == 4


def test_methods_say_so() -> None:
    settings = {"precision": "bfloat16"}
    stock = kernels.told({"settings": settings})
    pallas = kernels.told({"settings": settings, **kernels.recipe(AlphaFold2Settings(kernels="pallas"))})
    legacy = kernels.told({"settings": settings, **kernels.recipe(AlphaFold2Settings(kernels="cuda_legacy"))})
    version = importlib.metadata.version
    assert stock == "in bfloat16"
    # What ran may be less than what was planned.
    but = "metrics.tsv names targets that ran without, in the column kernels"
    fused = f"alphafold-colabfold {version('alphafold-colabfold')}; {but}"
    assert pallas == f"in bfloat16 with fused Pallas kernels ({fused})"
    fused = f"colabfold-legacy-kernels {version('colabfold-legacy-kernels')}; {but}"
    assert legacy == f"in float16 with fused CUDA kernels ({fused})"


# ---- what the kernels compute ----------------------------------------------------------------------------
@pytest.fixture(scope="module", autouse=True)
def _interpreted() -> Iterator[None]:
    with interpreted():
        yield


def drawn(seed: int, *shape: int, scale: float = 1.0) -> tuple[jax.Array, np.ndarray]:
    """Numbers in bfloat16, and the same in float64."""
    values = half(np.random.default_rng(seed).normal(size=shape) * scale)
    return values, np.asarray(values, np.float64)


def off(found: jax.Array, expected: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    assert found.shape == expected.shape
    assert found.dtype == half(0).dtype
    return float(np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max())


#: bfloat16 has 8 bits: its numbers are 0.4 % apart, so that a value is rounded by 0.2 % at the most. Operands
#: that are rounded in between (weights of attention) come on top.
ROUNDED, ROUNDED_TWICE = 2.0**-8, 2.0**-7


@pytest.mark.parametrize(("channels", "length"), [(8, 70), (16, 33), (32, 70)])
@pytest.mark.parametrize("biased", [True, False])
def test_attention(channels: int, length: int, biased: bool) -> None:
    """Heads of 8 channels and masks that differ by row are what ColabFold 1.6.2 computed wrongly."""
    rows, heads = 3, 2
    (q, q64), (k, k64), (v, v64) = (drawn(seed, rows, heads, length, channels) for seed in (1, 2, 3))
    bias, bias64 = drawn(4, heads, length, length) if biased else (None, np.zeros(()))
    mask = np.random.default_rng(5).random((rows, length)) < 0.7
    additive = half(np.where(mask, 0.0, -1e9))[:, None, None, :]
    found = tri_flash.pallas_attention(q, k, v, additive, bias, channels**-0.5)
    logits = np.einsum("nhqd,nhkd->nhqk", q64, k64) * channels**-0.5 + bias64
    weights = np.exp(logits - logits.max(-1, keepdims=True)) * mask[:, None, None, :]
    expected = np.einsum("nhqk,nhkd->nhqd", weights / weights.sum(-1, keepdims=True), v64)
    assert off(found, expected) < ROUNDED_TWICE


def test_attention_with_one_mask_for_all_rows() -> None:
    """As the pointwise attention of templates has it."""
    (q, q64), (k, k64), (v, v64) = (drawn(seed, 4, 2, 5, 16) for seed in (1, 2, 3))
    mask = np.array([True, True, False, True, False])
    additive = half(np.where(mask, 0.0, -1e9))[None, None, None, :]
    found = tri_flash.pallas_attention(q, k, v, additive, None, 0.25)
    weights = np.exp(np.einsum("nhqd,nhkd->nhqk", q64, k64) * 0.25) * mask
    expected = np.einsum("nhqk,nhkd->nhqd", weights / weights.sum(-1, keepdims=True), v64)
    assert off(found, expected) < ROUNDED_TWICE


@pytest.mark.parametrize("form", ["whole", "split", "channel_major"])
def test_gated_projections(form: str) -> None:
    cells, channels, out = 70, 32, 16
    (x, x64), (mask, mask64) = drawn(1, cells, channels), drawn(2, cells)
    (wp, wp64), (wg, wg64) = (drawn(seed, channels, out, scale=0.2) for seed in (3, 4))
    (bp, bp64), (bg, bg64) = drawn(5, out), drawn(6, out)
    found = tri_mul.gated_dual_proj(
        x, wp, bp, wg, bg, mask, split=form != "whole", channel_major=form == "channel_major"
    )
    expected = mask64[:, None] * (x64 @ wp64 + bp64) / (1 + np.exp(-(x64 @ wg64 + bg64)))
    if form == "whole":
        assert off(found, expected) < ROUNDED
        return
    halves = [expected[:, : out // 2], expected[:, out // 2 :]]
    for each, wanted in zip(found, halves, strict=True):
        assert off(each, wanted.T if form == "channel_major" else wanted) < ROUNDED


@pytest.mark.parametrize("shape", [(70, 32), (2, 3, 5, 64)])
def test_layer_norm(shape: tuple[int, ...]) -> None:
    x, x64 = drawn(1, *shape, scale=3.0)
    scale, offset = (np.random.default_rng(seed).normal(size=shape[-1]).astype(np.float32) for seed in (2, 3))
    centred = x64 - x64.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + offset
    assert off(tri_mul.pallas_layer_norm(x, scale, offset), expected) < ROUNDED
