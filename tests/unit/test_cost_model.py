"""The cost model and the table of GPU classes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from snakefold import engines
from snakefold.config import Config, load_config
from snakefold.engines.alphafold2.cost import A100_SECONDS
from snakefold.engines.alphafold2.cost import AlphaFold2Work as Work
from snakefold.engines.alphafold2.settings import Kernels
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.paths import house
from snakefold.plan.cost import msa
from snakefold.plan.cost.calibration import Calibration, Fitted, read_calibration
from snakefold.plan.cost.gpus import UNLIMITED, GpuClass, load_classes
from snakefold.plan.cost.model import SPREAD, CostModel, load_model
from snakefold.plan.groups import work_of

TABLE = house() / "resources" / "gpus.yaml"
NAMES = list(yaml.safe_load(TABLE.read_text()))
CLASSES = {gpu.name: gpu for gpu in load_classes(NAMES)}
MODEL = CostModel()

works = st.builds(
    Work,
    predictions=st.integers(1, 10),
    passes=st.integers(1, 20),
    msa_rows=st.integers(1, 512),
    extra_rows=st.integers(1, 8192),
    blocks=st.integers(1, 48),
    relaxed=st.integers(0, 5),
    multimer=st.booleans(),
    float32=st.booleans(),
    kernels=st.sampled_from(Kernels),
)
lengths = st.lists(st.integers(1, 6000), min_size=2, max_size=30, unique=True).map(sorted)
fits = st.builds(
    lambda factor, exponent: Calibration(
        classes={
            name: {"alphafold2": {"predict": Fitted(factor=factor, exponent=exponent)}} for name in NAMES
        }
    ),
    st.floats(0.1, 10),
    st.floats(-0.3, 0.6),
)


def test_every_class_has_what_a_price_needs() -> None:
    prices = {}
    for gpu in CLASSES.values():
        assert gpu.speed_source.strip()
        if gpu.name == "local":
            assert gpu.dollars_per_second == 0
            continue
        assert gpu.priced_on == date(2026, 6, 8)
        assert gpu.memory_gb
        assert gpu.compute_capability and gpu.compute_capability >= 8
        assert gpu.runpod_pool
        prices[gpu.name] = gpu.dollars_per_second
    assert prices["ampere_80"] == 0.00076
    assert len(prices) == 10
    assert CLASSES["ampere_80"].speed == 1.0
    assert all("measured" in gpu.speed_source or "http" in gpu.speed_source or "AlphaFold" in gpu.speed_source
               for gpu in CLASSES.values())  # fmt: skip


@pytest.mark.parametrize(
    ("kernels", "factor"),
    [(Kernels.PALLAS, 2.5), (Kernels.CUDA_LEGACY, 2.0), (Kernels.STOCK, 1.0), (Kernels.AUTO, 1.0)],
)
def test_fused_kernels_make_the_network_of_a_gpu_faster_and_nothing_else(
    kernels: Kernels, factor: float
) -> None:
    sizes, stock = [100, 300, 1000], Work()
    fused = replace(stock, kernels=kernels)
    gpu, cpu = CLASSES["ampere_80"], CLASSES["local"]
    assert MODEL.network_seconds(sizes, fused, gpu) * factor == pytest.approx(
        MODEL.network_seconds(sizes, stock, gpu)
    )
    assert (MODEL.network_seconds(sizes, fused, cpu) == MODEL.network_seconds(sizes, stock, cpu)).all()
    for part in (MODEL.features_seconds, MODEL.relax_seconds, MODEL.compile_seconds):
        assert (part(sizes, fused, gpu) == part(sizes, stock, gpu)).all()
    assert MODEL.load_seconds(fused, gpu) == MODEL.load_seconds(stock, gpu)


@pytest.mark.parametrize("engine", ["alphafold2", "openfold"])
def test_a_run_is_priced_with_the_kernels_that_it_takes(engine: str) -> None:
    def kernels(rehearsal: bool = False, **settings: Any) -> str:
        config = load_config({"engine": engine, **settings})
        work = work_of(config, engines.get(engine), "monomer", rehearsal=rehearsal)
        return str(getattr(work, "kernels"))  # noqa: B009 (no part of the protocol)

    on_gpu = {"gpu": {"classes": ["ampere_80", "b200"]}}
    assert kernels(**on_gpu) == "pallas"
    assert kernels(**on_gpu, rehearsal=True) == "stock"
    assert kernels(**on_gpu, **{engine: {"kernels": "stock"}}) == "stock"
    assert kernels(gpu={"classes": ["local", "b200"]}) == "stock"


def test_an_unknown_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="quantum_1"):
        load_classes(["ampere_80", "quantum_1"])
    (tmp_path / "own.yaml").write_text("mine: {title: x, speed: -1, speed_source: x}\n")
    with pytest.raises(ConfigError, match="speed"):
        load_classes(["mine"], tmp_path / "own.yaml")


@given(lengths, works, st.sampled_from(NAMES), fits)
def test_nothing_falls_with_the_length(
    lengths: list[int], work: Work, name: str, calibration: Calibration
) -> None:
    model, gpu = CostModel(calibration), CLASSES[name]
    for seconds in (
        model.predict_seconds(lengths, work, gpu),
        model.relax_seconds(lengths, work, gpu),
        model.compile_seconds(lengths, work, gpu),
        model.memory_gb(lengths, work),
        model.result_bytes(lengths, work),
    ):
        assert seconds.shape == (len(lengths),)
        assert (seconds >= 0).all()
        assert (np.diff(seconds) >= -1e-9 * seconds[1:]).all()


@given(
    st.integers(16, 5000),
    works,
    st.sampled_from(["predictions", "passes", "msa_rows", "extra_rows", "blocks"]),
    st.sampled_from(NAMES),
)
def test_more_work_takes_longer(length: int, work: Work, what: str, name: str) -> None:
    more = replace(work, **{what: getattr(work, what) + 1})
    gpu = CLASSES[name]
    assert MODEL.predict_seconds(length, more, gpu) > MODEL.predict_seconds(length, work, gpu)
    assert MODEL.memory_gb(length, more) >= MODEL.memory_gb(length, work)


@given(works, st.sampled_from(NAMES))
def test_the_longest_that_fits_fits_and_one_more_does_not(work: Work, name: str) -> None:
    gpu = CLASSES[name]
    longest = MODEL.max_length(gpu, work)
    if gpu.memory_gb is None:
        assert longest == UNLIMITED
        return
    assert MODEL.memory_gb(longest, work) <= gpu.memory_gb < MODEL.memory_gb(longest + 1, work)


def test_published_figures_come_back() -> None:
    work, gpu = Work(predictions=1), CLASSES["ampere_80"]
    known = list(A100_SECONDS)
    assert MODEL.network_seconds(known, work, gpu) == pytest.approx(list(A100_SECONDS.values()))
    # AlphaFold's paper: about 1,300 residues in 16 GB.
    assert 1200 < MODEL.max_length(CLASSES["ampere_16"], work) < 1400


def work(config: Config, group: str, *, rehearsal: bool = False) -> Any:
    return work_of(config, engines.get(config.engine), group, rehearsal=rehearsal)


def test_work_is_that_of_the_configuration() -> None:
    config = load_config({"alphafold2": {"use_templates": True, "num_seeds": 2, "num_recycle": 5}})
    monomer, multimer = (work(config, group) for group in ("monomer", "complex"))
    assert monomer == Work(predictions=10, passes=6, programs=2)
    assert (multimer.multimer, multimer.programs, multimer.msa_rows) == (True, 1, 508)
    rehearsal = work(load_config({}), "monomer", rehearsal=True)
    assert (rehearsal.blocks, rehearsal.predictions, rehearsal.msa_rows, rehearsal.passes) == (2, 2, 32, 2)
    assert work(load_config({"msa": {"tool": "single_sequence"}}), "monomer").extra_rows == 1
    antibody = work(load_config({"engine": "flashabb"}), "antibody")
    assert MODEL.compile_seconds([230], antibody, CLASSES["local"]) == 0
    assert 0.05 < MODEL.network_seconds(230, antibody, CLASSES["local"]) < 0.5


def test_alignments_cost_what_the_benchmarks_measured() -> None:
    settings = load_config({"msa": {"db_preset": "demo"}}).msa
    by_processor = json.loads((house() / "benchmarks" / "msa_jackhmmer.json").read_text())
    measured = max(by_processor.values(), key=lambda each: each["all cores"]["snakefold"]["cpu_seconds"])
    sizes = {"swissprot": round(measured["database_mb"] * 1e6)}
    chains = measured["queries"]
    seconds = chains * MODEL.msa_seconds([measured["mean_length"]], settings, sizes)[0]
    assert seconds == pytest.approx(measured["all cores"]["snakefold"]["cpu_seconds"], rel=0.1)
    assert MODEL.msa_seconds([300], settings, {"swissprot": 2 * 10**9}) > MODEL.msa_seconds(
        [300], settings, {"swissprot": 10**9}
    )
    alone = settings.model_copy(update={"tool": "single_sequence"})
    assert MODEL.msa_seconds([300], alone)[0] < 0.1
    assert msa.database_sizes(settings, pairing=False).keys() == {"swissprot"}
    # ColabFold's search is 40 to 60 times cheaper than AlphaFold's (its paper), which costs 2.6 times ours.
    colabfold = settings.model_copy(update={"tool": "mmseqs", "db_preset": "colabfold"})
    alphafold = settings.model_copy(update={"db_preset": "reduced_dbs"})
    ratio = MODEL.msa_seconds([300], alphafold)[0] / MODEL.msa_seconds([300], colabfold)[0]
    assert 15 < ratio < 30


def test_the_assignment_was_measured_with_the_classes_of_today() -> None:
    """Whoever changes a class runs `benchmarks/assign.py` again, and looks at docs/assignment.md."""
    measured = json.loads((house() / "benchmarks" / "assign.json").read_text())["classes"]
    assert measured == {
        name: [gpu.memory_gb, gpu.speed, gpu.dollars_per_second]
        for name, gpu in CLASSES.items()
        if gpu.dollars_per_second
    }


def test_a_calibration_narrows_what_was_measured_and_nothing_else(tmp_path: Path) -> None:
    fitted = Fitted(factor=2.0, observations=1000, low=0.9, high=1.2)
    calibration = Calibration(classes={"ada_24": {"alphafold2": {"predict": fitted}}})
    path = tmp_path / "calibration.json"
    path.write_text(calibration.model_dump_json())
    model, work, gpu = load_model(path), Work(), CLASSES["ada_24"]
    assert model.network_seconds(500, work, gpu) == pytest.approx(2 * MODEL.network_seconds(500, work, gpu))
    assert model.relax_seconds(500, work, gpu) == MODEL.relax_seconds(500, work, gpu)
    assert model.spread("predict", gpu, "alphafold2") == pytest.approx((0.9, 1.2), rel=0.01)
    assert (
        model.spread("predict", CLASSES["b200"], "alphafold2") == model.spread("predict") == SPREAD["predict"]
    )
    few = Calibration(classes={"ada_24": {"alphafold2": {"predict": Fitted(observations=1)}}})
    low, high = CostModel(few).spread("predict", gpu, "alphafold2")
    assert low < 0.7
    assert high > 1.5
    assert "calibrated" in model.basis(gpu, "alphafold2")
    assert "never calibrated" in model.basis(CLASSES["b200"], "alphafold2")


def test_no_calibration_is_refused_with_the_file_named(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"version": 7}')
    for path in (tmp_path / "other.json", tmp_path / "missing.json"):
        with pytest.raises(ConfigError, match=path.name):
            read_calibration(path)


@given(st.floats(0.5, 3), st.floats(0.5, 3))
def test_what_a_newer_calibration_does_not_say_stays(one: float, other: float) -> None:
    def calibration(**classes: float) -> Calibration:
        return Calibration(
            classes={name: {"alphafold2": {"predict": Fitted(factor=f)}} for name, f in classes.items()}
        )

    merged = calibration(local=one, b200=one).merged(calibration(local=other))
    assert merged.classes["local"]["alphafold2"]["predict"].factor == other
    assert merged.classes["b200"]["alphafold2"]["predict"].factor == one
    assert merged.merged(merged) == merged


def test_paid_workers_start_and_idle() -> None:
    own = GpuClass(name="own", title="own", speed=1.0, speed_source="test")
    assert MODEL.start_seconds(own) == MODEL.idle_seconds(own) == 0
    assert MODEL.start_seconds(CLASSES["b200"]) > 0 < MODEL.idle_seconds(CLASSES["b200"])
    assert 0 < MODEL.load_seconds(Work(blocks=2, models=1), own) < MODEL.load_seconds(Work(), own)
    once, cached = (MODEL.compile_seconds(300, Work(), own, cached=cached) for cached in (False, True))
    assert 0 < cached < once


def test_relaxation_is_expected_on_the_gpu_of_a_class_that_has_one() -> None:
    works = {
        choice: work(load_config({"relax": {"use_gpu_relax": choice}}), "monomer")
        for choice in ("auto", True, False)
    }
    seconds = {
        (choice, name): float(MODEL.relax_seconds(300, work, CLASSES[name]))
        for choice, work in works.items()
        for name in ("local", "ampere_80")
    }
    assert seconds["auto", "ampere_80"] == seconds[True, "ampere_80"] < 0.5 * seconds[False, "ampere_80"]
    assert seconds["auto", "local"] == seconds[False, "local"] == seconds[False, "ampere_80"]
