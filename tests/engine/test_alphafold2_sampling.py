"""Sampling an MSA at padded shapes gives the same bits as AlphaFold's own calls, in fewer programs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import pytest

from snakefold.engines.alphafold2 import sampling

SHAPES = [(32, 1, 20), (32, 16, 39), (5, 100, 64), (8, 33, 65), (128, 1024, 97), (1, 7, 1)]


#: Functions that AlphaFold jits, and their modules.
JITTED = {
    "_categorical_inner": "random_philox",
    "_jit_cluster_assign": "np_backend",
    "_jit_cluster_sums": "np_backend",
}


def tf(module: str) -> ModuleType:
    return importlib.import_module(f"alphafold.model.tf.{module}")


@pytest.fixture(scope="module", autouse=True)
def few_shapes() -> None:
    sampling.use_few_shapes()


@contextmanager
def own_shapes() -> Iterator[None]:
    """AlphaFold's own functions."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in JITTED.items():
            patch.setattr(tf(module), name, getattr(tf(module), name).__wrapped__)
        yield


def msas(clusters: int, rows: int, length: int) -> dict[str, np.ndarray]:
    source = np.random.default_rng(clusters * rows * length)

    def mask(*shape: int) -> np.ndarray:
        return (source.random(shape) < 0.9).astype(np.float32)

    return {
        "msa": source.integers(0, 23, (clusters, length)).astype(np.int32),
        "msa_mask": mask(clusters, length),
        "extra_msa": source.integers(0, 23, (rows, length)).astype(np.int32),
        "extra_msa_mask": mask(rows, length),
        "extra_deletion_matrix": source.random((rows, length)).astype(np.float32),
        "deletion_matrix": source.random((clusters, length)).astype(np.float32),
    }


def clusters(shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    backend = tf("np_backend")
    found: dict[str, np.ndarray] = backend.fast_summarize_clusters(
        backend.fast_nearest_neighbor_clusters(msas(*shape))
    )
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_clusters_are_the_same(shape: tuple[int, int, int]) -> None:
    with own_shapes():
        expected = clusters(shape)
    found = clusters(shape)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and np.array_equal(found[name], value), name


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_are_the_same(shape: tuple[int, int, int]) -> None:
    rows, length = shape[0], shape[2]
    logits = np.log(np.random.default_rng(length).dirichlet(np.ones(23), rows * length) + 1e-6)
    with own_shapes():
        expected = tf("random_philox").categorical(7, 11, logits, 1)
    assert np.array_equal(expected, tf("random_philox").categorical(7, 11, logits, 1))


def test_lengths_share_programs() -> None:
    programs = {name: getattr(tf(module), name).__wrapped__ for name, module in JITTED.items()}
    for length in range(33, 65):
        clusters((9, 40, length))
        if length == 33:
            before = {name: program._cache_size() for name, program in programs.items()}
    assert {name: programs[name]._cache_size() - before[name] for name in list(programs)[1:]} == {
        "_jit_cluster_assign": 0,
        "_jit_cluster_sums": 0,
    }


@pytest.mark.parametrize(
    ("size", "steps", "padded"), [(1, 8, 32), (33, 8, 64), (400, 8, 416), (5120, 8, 5120), (640, 2, 768)]
)
def test_padded_sizes(size: int, steps: int, padded: int) -> None:
    assert sampling.padded_size(size, steps) == padded
    assert all(sampling.padded_size(n, steps) <= max(n + 31, n * (1 + 1 / steps)) for n in range(1, 3000))
