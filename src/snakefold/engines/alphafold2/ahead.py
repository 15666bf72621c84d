"""Features made while the device predicts something else.

Reading an alignment and sampling it takes seconds of a CPU (384 residues, 5,000 rows: 3.5 s), as long as a
GPU needs for a model. AlphaFold's code draws from a generator that the process shares, so that features are
made one at a time: all of them in one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from snakefold.engines.alphafold2 import sampling

Made = TypeVar("Made")


class Ahead:
    """What is being made, by its key. Called from one thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="features")
        self._begun: dict[Hashable, Future[Any]] = {}

    def begin(self, key: Hashable, make: Callable[..., Made], *arguments: Any) -> None:
        """Start on what is likely to be asked for next. The device has other work: it is left alone."""
        if key not in self._begun:
            self._begun[key] = self._thread.submit(_beside_the_device, make, *arguments)

    def result(self, key: Hashable, make: Callable[..., Made], *arguments: Any) -> Made:
        """What `make` gives or raises; whatever else was begun is not wanted any more."""
        future = self._begun.pop(key, None) or self._thread.submit(make, *arguments)
        for other in self._begun.values():
            other.cancel()
        self._begun.clear()
        return future.result()


def _beside_the_device(make: Callable[..., Made], *arguments: Any) -> Made:
    with sampling.on_the_cpu():
        return make(*arguments)
