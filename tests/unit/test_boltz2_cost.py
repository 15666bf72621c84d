"""What Boltz-2 takes: nothing falls with size or settings, and the figures that it rests on come out."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold.engines.boltz2.cost import Boltz2Work
from snakefold.engines.spec import Work

#: Speed of an H100 in A100, by the figures that both are published with.
H100 = 1.7

WORKS = st.builds(
    Boltz2Work,
    samples=st.integers(1, 30),
    seeds=st.integers(1, 5),
    recycling=st.integers(0, 10),
    steps=st.integers(1, 400),
    parallel=st.integers(1, 10),
    affinity=st.booleans(),
    affinity_samples=st.integers(1, 10),
    affinity_steps=st.integers(1, 400),
    potentials=st.booleans(),
    rows=st.integers(1, 16_384),
    sampled_rows=st.integers(1, 4096),
    fused=st.booleans(),
    rehearsal=st.booleans(),
)
SIZES = st.lists(st.integers(1, 6000), min_size=2, max_size=30).map(sorted)


def everything(work: Work, sizes: list[int], device: str) -> list[Any]:
    return [
        work.network_seconds(sizes, device, 1.0),
        work.features_seconds(sizes, device),
        work.compile_seconds(sizes, device),
        work.memory_gb(sizes),
        *work.result_bytes(sizes),
    ]


@given(work=WORKS, sizes=SIZES, device=st.sampled_from(["cpu", "gpu"]))
def test_nothing_falls_with_the_size(work: Boltz2Work, sizes: list[int], device: str) -> None:
    for values in everything(work, sizes, device):
        assert values.shape == (len(sizes),)
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (np.diff(values) >= 0).all()


@given(
    work=WORKS,
    sizes=SIZES,
    device=st.sampled_from(["cpu", "gpu"]),
    more=st.sampled_from(
        ["samples", "seeds", "recycling", "steps", "affinity_samples", "affinity_steps", "rows"]
    ),
)
def test_asking_for_more_never_costs_less(work: Boltz2Work, sizes: list[int], device: str, more: str) -> None:
    larger = replace(work, **{more: getattr(work, more) + 3})
    for before, after in zip(everything(work, sizes, device), everything(larger, sizes, device), strict=True):
        assert (after >= before * (1 - 1e-12)).all()
    with_affinity = replace(work, affinity=True)
    assert (
        with_affinity.network_seconds(sizes, device, 1.0) >= work.network_seconds(sizes, device, 1.0)
    ).all()
    assert with_affinity.load_seconds(device) >= work.load_seconds(device)


@given(work=WORKS, speed=st.floats(0.001, 10))
def test_seconds_are_inverse_to_speed(work: Boltz2Work, speed: float) -> None:
    for device in ("cpu", "gpu"):
        one = work.network_seconds([300], device, 1.0)
        assert work.network_seconds([300], device, speed) * speed == pytest.approx(one)


def test_published_seconds_on_an_h100() -> None:
    fused, eager = Boltz2Work(rows=1), Boltz2Work(rows=1, fused=False)
    assert fused.network_seconds([500], "gpu", H100)[0] == pytest.approx(8.5, rel=0.2)
    assert eager.network_seconds([500], "gpu", H100)[0] == pytest.approx(22.5, rel=0.2)


def test_the_affinity_takes_about_twenty_seconds_whatever_the_protein() -> None:
    sizes = [256, 400, 2000]
    affinity = Boltz2Work(rows=1, affinity=True).network_seconds(sizes, "gpu", 1.0)
    extra = affinity - Boltz2Work(rows=1).network_seconds(sizes, "gpu", 1.0)
    assert extra == pytest.approx([20, 20, 20], rel=0.25)


@pytest.mark.parametrize(
    ("tokens", "gigabytes"), [(50, 3.16), (100, 3.27), (200, 3.59), (300, 4.24), (400, 5.13), (500, 6.16)]
)
def test_published_memory(tokens: int, gigabytes: float) -> None:
    used = Boltz2Work(rows=1).memory_gb([tokens])[0] * 0.95
    assert used == pytest.approx(gigabytes, rel=0.03)


@pytest.mark.parametrize(("card", "tokens"), [(24, 1300), (80, 2450)])
def test_published_limits_of_cards(card: int, tokens: int) -> None:
    assert Boltz2Work(rows=1).memory_gb([tokens])[0] == pytest.approx(card, rel=0.04)
    # A deep alignment takes gigabytes more.
    assert Boltz2Work().memory_gb([2000])[0] > Boltz2Work(rows=1).memory_gb([2000])[0] + 4


@pytest.mark.parametrize(
    ("tokens", "recycling", "seconds"), [(80, 0, 2.4), (160, 0, 22.5), (160, 2, 62.0), (300, 0, 148.8)]
)
def test_measured_rehearsals_on_one_core(tokens: int, recycling: int, seconds: float) -> None:
    work = Boltz2Work(rows=1, recycling=recycling, steps=5, rehearsal=True)
    assert work.network_seconds([tokens], "cpu", 0.004)[0] == pytest.approx(seconds, rel=0.4)


def test_a_screen_of_ten_thousand_ligands_is_priced_at_once() -> None:
    sizes = np.random.default_rng(0).integers(300, 420, 10_000)
    work = Boltz2Work(affinity=True)
    best = min(_seconds(work, sizes) for _ in range(3))
    assert best < 0.1


def _seconds(work: Boltz2Work, sizes: Any) -> float:
    start = time.process_time()
    everything(work, sizes, "gpu")
    return time.process_time() - start


def test_it_takes_plain_numbers() -> None:
    assert {type(each.default) for each in fields(Boltz2Work)} <= {int, bool, str}
    assert Boltz2Work().engine == "boltz2"
    assert Boltz2Work().relaxed == 0
