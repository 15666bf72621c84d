"""AlphaFold's sampling of an MSA, in programs of few shapes.

Three functions of alphafold.model.tf are jitted at a target's own length, so every new length in a batch
compiles them again: a third of a CPU second in which the GPU waits. Here they run at padded shapes, and the
padding is cut off. Results stay the same bit by bit: a row does not depend on others, and the mask makes the
padding zero.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_thread = threading.local()


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Sample on the CPU in this thread, even what AlphaFold gives to a GPU: it adds up whole numbers."""
    _thread.on_the_cpu = True
    try:
        yield
    finally:
        _thread.on_the_cpu = False


def padded_size(size: int, steps: int) -> int:
    """The next size on a grid of `steps` sizes between a power of two and the next one, at least 32 apart."""
    step = max(32, 2 ** (max(size, 1).bit_length() - 1) // steps)
    return -(-size // step) * step


@cache
def use_few_shapes() -> None:
    """Let AlphaFold's sampling of this process use padded shapes."""
    from alphafold.model.tf import np_backend, random_philox

    random_philox._categorical_inner = _categorical(random_philox._categorical_inner)
    np_backend._jit_cluster_assign = _cluster_assign(np_backend._jit_cluster_assign)
    np_backend._jit_cluster_sums = _cluster_sums(np_backend._jit_cluster_sums)
    np_backend._cluster_device = _cluster_device(np_backend._cluster_device)


def _cluster_device(chosen: Callable[[int, int], Any]) -> Callable[[int, int], Any]:
    """Rows and columns of an extra MSA → device that clusters it."""

    @wraps(chosen)
    def device(rows: int, columns: int) -> Any:
        return chosen(0, 0) if getattr(_thread, "on_the_cpu", False) else chosen(rows, columns)

    return device


def _categorical(jitted: Callable[..., Any]) -> Callable[..., NDArray[Any]]:
    """logits [rows, classes] and doubles [rows, samples] → classes [rows, samples]."""

    @wraps(jitted)
    def sample(logits: ArrayLike, doubles: ArrayLike) -> NDArray[Any]:
        logits, doubles = np.asarray(logits), np.asarray(doubles)
        rows = len(logits)
        # Few sizes: a row costs so little that a program costs more than the padding.
        shape = (padded_size(rows, 2),)
        return np.asarray(jitted(_pad(logits, shape), _pad(doubles, shape)))[:rows]

    return sample


def _cluster_assign(jitted: Callable[..., Any]) -> Callable[..., NDArray[Any]]:
    """msa and mask [clusters, length], extra MSA and mask [rows, length] → cluster of each row [rows]."""

    @wraps(jitted)
    def assign(msa: Any, msa_mask: Any, extra_msa: Any, extra_mask: Any) -> NDArray[Any]:
        rows = len(extra_msa)
        columns, wide = _shape(msa, extra_msa)
        padded = _put(msa, (msa, columns), (msa_mask, columns), (extra_msa, wide), (extra_mask, wide))
        return np.asarray(jitted(*padded))[:rows]

    return assign


def _cluster_sums(jitted: Callable[..., Any]) -> Callable[..., tuple[NDArray[Any], ...]]:
    """Counts [clusters, length], classes [clusters, length, 23] and deletions [clusters, length]."""

    @wraps(jitted)
    def sums(*arrays: Any) -> tuple[NDArray[Any], ...]:
        assign, msa, extra_msa, extra_mask, extra_deletion, deletion = arrays
        columns, wide = _shape(msa, extra_msa)
        rows = [(assign, wide[:1]), (extra_msa, wide), (extra_mask, wide), (extra_deletion, wide)]
        assign, extra_msa, extra_mask, extra_deletion = _put(msa, *rows)
        padded, deletion = _put(msa, (msa, columns), (deletion, columns))
        counts, classes, deletions = jitted(assign, padded, extra_msa, extra_mask, extra_deletion, deletion)
        length = msa.shape[1]
        return tuple(np.asarray(each)[:, :length] for each in (counts, classes, deletions))

    return sums


def _shape(msa: Any, extra_msa: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padded shapes of the MSA, whose rows a batch shares, and of the extra MSA."""
    length = padded_size(msa.shape[1], 8)
    return (msa.shape[0], length), (padded_size(extra_msa.shape[0], 8), length)


def _put(like: Any, *arrays: tuple[Any, tuple[int, ...]]) -> list[Any]:
    """Arrays, padded to shapes, on the device of `like`."""
    import jax

    return [jax.device_put(_pad(np.asarray(array), shape), like.device) for array, shape in arrays]


def _pad(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Zeros at the end of the first dimensions."""
    missing = [wanted - there for wanted, there in zip(shape, array.shape, strict=False)]
    if not any(missing):
        return array
    widths = [(0, each) for each in missing] + [(0, 0)] * (array.ndim - len(missing))
    return np.pad(array, widths)
