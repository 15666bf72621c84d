"""Fitting the cost model: known parameters come back, and outliers do not matter."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from snakefold.engines.alphafold2.cost import AlphaFold2Work as Work
from snakefold.msa.settings import MsaSettings
from snakefold.plan.cost.calibration import Calibration, Fitted
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.cost.model import CostModel
from snakefold.run.calibration.fit import compare, comparison_table, fit, fit_part, plot_comparison
from snakefold.run.calibration.observations import BatchSeconds, ChunkSeconds, Observations, TargetSeconds

CLASSES = {gpu.name: gpu for gpu in load_classes(["local", "ampere_80", "b200"])}
TODAY = date(2026, 6, 8)
TRUTH = Calibration(
    classes={
        "ampere_80": {
            "alphafold2": {
                "predict": Fitted(factor=1.6, exponent=0.12),
                "features": Fitted(factor=0.7),
                "relax": Fitted(factor=2.0),
                "compile": Fitted(factor=1.4),
                "load": Fitted(factor=0.6),
            }
        }
    },
    msa={"jackhmmer": {"rate": Fitted(factor=1.5), "chunk": Fitted(factor=2.0)}},
)


def observed(truth: Calibration, *, noise: float, count: int = 300, seed: int = 1) -> Observations:
    """What a machine that is as `truth` says would show, with log-normal noise."""
    draw = np.random.default_rng(seed)
    model, work, gpu = CostModel(truth), Work(), CLASSES["ampere_80"]

    def noisy(seconds: object) -> float:
        return float(np.asarray(seconds)) * float(np.exp(draw.normal(0, noise)))

    targets = [
        TargetSeconds(
            target=f"t{number}",
            batch="b0001",
            gpu="ampere_80",
            device="NVIDIA A100",
            work=work,
            length=length,
            padded_length=length,
            network=noisy(model.network_seconds(length, work, gpu)),
            features=noisy(model.features_seconds(length, work, gpu)),
            compile=noisy(model.compile_seconds(length, work, gpu)) if number % 10 == 0 else 0.0,
            relax=noisy(model.relax_seconds(length, work, gpu)),
        )
        for number, length in enumerate(draw.integers(50, 2000, count).tolist())
    ]
    load = model.load_seconds(work, gpu)
    batches = [
        BatchSeconds(
            batch=f"b{number:04d}", gpu="ampere_80", work=work, targets=10, shapes=1, load=noisy(load),
            wall=1000.0, cpu=None,
        )
        for number in range(30)
    ]  # fmt: skip
    search = MsaSettings()
    chunks = []
    for number in range(30):
        sizes, chains, length = {"swissprot": int(10 ** draw.uniform(4, 9))}, 1 + number, 250
        seconds = (
            model.msa_chunk_seconds(search, sizes) + chains * model.msa_seconds([length], search, sizes)[0]
        )
        chunks.append(
            ChunkSeconds(
                chunk=f"m{number:04d}", settings=search, pairing=False, chains=chains,
                residues=chains * length, database_bytes=sizes, wall=1.0, cpu=noisy(seconds),
            )
        )  # fmt: skip
    return Observations(targets, batches, chunks)


@pytest.mark.parametrize(("noise", "tolerance"), [(0.01, 0.02), (0.2, 0.08)])
def test_known_parameters_come_back(noise: float, tolerance: float) -> None:
    fitted = fit(observed(TRUTH, noise=noise), CLASSES, TODAY)
    for part, true in TRUTH.classes["ampere_80"]["alphafold2"].items():
        found = fitted.classes["ampere_80"]["alphafold2"][part]
        assert found.factor == pytest.approx(true.factor, rel=tolerance), part
        assert found.exponent == pytest.approx(true.exponent, abs=tolerance), part
        assert 0.8 * np.exp(1.28 * noise) < found.high < 1.3 * np.exp(1.28 * noise), part
    for part, true in TRUTH.msa["jackhmmer"].items():
        assert fitted.msa["jackhmmer"][part].factor == pytest.approx(true.factor, rel=2 * tolerance), part
    assert set(fitted.classes) == {"ampere_80"}


@pytest.mark.parametrize(("times", "seed"), [(2.0, 0), (3.0, 34), (10.0, 2), (100.0, 3), (0.1, 4)])
def test_a_tenth_of_outliers_moves_the_model_by_a_few_per_cent(times: float, seed: int) -> None:
    clean = observed(TRUTH, noise=0.1, count=200, seed=seed)
    spoilt = Observations(
        [
            replace(item, network=item.network * times, relax=(item.relax or 0.0) * times)
            if n % 10 == 0
            else item
            for n, item in enumerate(clean.targets)
        ]
    )
    one, other = (CostModel(fit(found, CLASSES, TODAY)) for found in (clean, spoilt))
    lengths, work, gpu = np.arange(100, 2000, 100), Work(), CLASSES["ampere_80"]
    for model in (CostModel.network_seconds, CostModel.relax_seconds):
        assert model(other, lengths, work, gpu) == pytest.approx(model(one, lengths, work, gpu), rel=0.05)


def test_few_observations_stay_near_the_published_figures() -> None:
    published = np.array([10.0])
    one = fit_part(3 * published, published, trust=0.5)
    many = fit_part(3 * np.repeat(published, 100), np.repeat(published, 100), trust=0.5)
    assert 1.0 < one.factor < 2.9 < many.factor < 3.0
    # A length exponent cannot be known from one length.
    flat = fit_part(3 * np.repeat(published, 50), np.repeat(published, 50), 0.5, np.full(50, 256.0))
    assert flat.exponent == 0


def test_a_second_fit_of_the_same_runs_changes_nothing() -> None:
    found = observed(TRUTH, noise=0.2, count=50)
    first, second = fit(found, CLASSES, TODAY), fit(found, CLASSES, TODAY)
    assert first == second
    assert first.merged(second) == first


def test_the_calibrated_model_predicts_runs_it_has_not_seen() -> None:
    calibrated = CostModel(fit(observed(TRUTH, noise=0.2, count=40), CLASSES, TODAY))
    unseen = observed(TRUTH, noise=0.2, count=200, seed=99)
    for item in compare(unseen, CLASSES, calibrated):
        assert item.predicted.sum() == pytest.approx(item.measured.sum(), rel=0.15), item.part
    published = {item.part: item for item in compare(unseen, CLASSES, CostModel())}
    assert published["predict"].predicted.sum() < 0.8 * published["predict"].measured.sum()


def test_table_and_picture_show_every_part(tmp_path: Path) -> None:
    items = compare(observed(TRUTH, noise=0.1, count=30), CLASSES, CostModel(TRUTH))
    text = comparison_table(items)
    rows = {line.split()[-6]: line for line in text.splitlines()[1:]}
    assert set(rows) == {"predict", "features", "relax", "compile", "load", "msa"}
    for line in rows.values():
        assert 0.9 < float(line.split()[-2]) < 1.1
    plot_comparison(items, tmp_path / "new" / "picture.svg", "test")
    assert "within 20" in (tmp_path / "new" / "picture.svg").read_text() or (
        (tmp_path / "new" / "picture.svg").stat().st_size > 5000
    )
