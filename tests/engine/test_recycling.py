"""Recycles on the device against AlphaFold's own loop: every output, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snakefold.engines.alphafold2 import ENGINE, recycling
from tests.engine.toys import chain_msas, make_request, make_target

SEQUENCE = "MKTAYIAKQRQISFVKSHF"


def same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            same(ours[name], value)
    else:
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)


@contextmanager
def stopped(runner: Any, **values: float) -> Iterator[None]:
    """With other settings of when to stop. Runners outlive a test."""
    before = {name: runner.config.model[name] for name in values}
    try:
        runner.config.model.update(values)
        yield
    finally:
        runner.config.model.update(before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chains", "precision"),
    [([SEQUENCE], "float32"), ([SEQUENCE, "MKTAYIAKQR"], "bfloat16")],
    ids=["monomer", "complex"],
)
def test_outputs_are_those_of_alphafolds_loop(
    chains: list[str],
    precision: str,
    weights_folder: Path,
    compile_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = make_target("t", *chains)
    msas = chain_msas(target, 6)
    request = make_request([target], models=[1], num_recycle=2, precision=precision)
    session = ENGINE.start(request, {target.result_key: msas}, weights_folder, compile_cache)
    asked: list[Any] = []
    predict = recycling.predict
    with monkeypatch.context() as patch:
        patch.setattr(
            recycling, "predict", lambda *given, **named: asked.append(given) or predict(*given, **named)
        )
        session.predict(target, msas)
    ((runner, inputs),) = asked
    named: dict[str, Any] = {"random_seed": 3, "return_representations": True}

    def both(**more: Any) -> tuple[tuple[Any, int], tuple[Any, int]]:
        return predict(runner, inputs, **named, **more), runner.predict(inputs, **named, **more)

    ours, theirs = both()
    assert ours[1] == theirs[1] == 2
    same(ours[0], theirs[0])
    # Whoever wants to see every pass sees the same.
    passes: list[Any] = []
    both(callback=lambda outputs, number: passes.append({**outputs, "number": np.array(number)}))
    assert len(passes) == 6
    for one, other in zip(passes[:3], passes[3:], strict=True):
        same(one, other)
    # Any tolerance above what the first recycle changes stops there, and any score after the first pass.
    for recycles, reason in ((1, {"recycle_early_stop_tolerance": 1e4}), (0, {"stop_at_score": 0.001})):
        with stopped(runner, **reason):
            ours, theirs = both()
        assert ours[1] == theirs[1] == recycles
        same(ours[0], theirs[0])
