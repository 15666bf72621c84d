"""What the batches are expected to take: seconds, dollars, memory, and each target's share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.spec import Work
from snakefold.kernel.padding import padded_lengths
from snakefold.plan.batches import Batch
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel

#: A scheduler may end a job after so many times what the model thinks possible, and so many seconds.
_PATIENCE, _GRACE_SECONDS = 2.0, 900
_MINUTE = 60

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Price:
    """What one batch takes of a worker (see `files.BatchRow`)."""

    seconds: float = 0.0
    dollars: float = 0.0
    memory_gb: float = 0.0
    runtime_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Prices:
    """Of each batch, in order, and of each target its share of seconds and dollars (0 if it has none)."""

    batches: Sequence[Price]
    seconds: Floats
    dollars: Floats


def price(
    batches: Sequence[Batch],
    lengths: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    classes: Sequence[GpuClass],
    works: Sequence[Work],
    model: CostModel,
) -> Prices:
    """Ask the model. A batch without a GPU class takes nothing.

    Every job counts the start of a worker: who keeps workers warm pays less.
    """
    gpus = {gpu.name: gpu for gpu in classes}
    predict, relax = (np.zeros(len(lengths)) for _ in range(2))
    for (name, group), members, padded in _alike(batches, lengths, groups):
        predict[members] = model.predict_seconds(padded, works[group], gpus[name])
        relax[members] = model.relax_seconds(lengths[members], works[group], gpus[name])
    seconds, dollars = (np.zeros(len(lengths)) for _ in range(2))
    prices: list[Price] = []
    for batch in batches:
        if not batch.gpu:
            prices.append(Price())
            continue
        members = np.array(batch.members)
        gpu, work = gpus[batch.gpu], works[int(groups[members[0]])]
        shapes = np.array(batch.bucket_edges) if batch.bucket_edges else np.unique(lengths[members])
        parts = {
            "start": model.start_seconds(gpu),
            "load": model.load_seconds(work, gpu),
            "compile": float(model.compile_seconds(shapes, work, gpu).sum()),
            "predict": float(predict[members].sum()),
            "relax": float(relax[members].sum()),
        }
        total = sum(parts.values())
        longest = sum(each * model.spread(part, gpu, work.engine)[1] for part, each in parts.items())
        own = predict[members] + relax[members]
        seconds[members] = own * (total / own.sum())
        dollars[members] = seconds[members] * gpu.dollars_per_second
        prices.append(
            Price(
                seconds=round(total, 1),
                dollars=round(total * gpu.dollars_per_second, 6),
                memory_gb=round(float(model.memory_gb([shapes[-1]], work)[0]), 2),
                runtime_seconds=_MINUTE * math.ceil((_PATIENCE * longest + _GRACE_SECONDS) / _MINUTE),
            )
        )
    return Prices(prices, np.round(seconds, 2), np.round(dollars, 7))


def _alike(
    batches: Sequence[Batch], lengths: NDArray[np.int64], groups: NDArray[np.int64]
) -> list[tuple[tuple[str, int], NDArray[np.int64], NDArray[np.int64]]]:
    """Members of all batches of one class and group, with the lengths that they are predicted at."""
    alike: dict[tuple[str, int], list[Batch]] = {}
    for batch in batches:
        if batch.gpu:
            alike.setdefault((batch.gpu, int(groups[batch.members[0]])), []).append(batch)
    found = []
    for kind, same in alike.items():
        members = np.concatenate([np.array(batch.members) for batch in same])
        padded = [padded_lengths(lengths[np.array(batch.members)], batch.bucket_edges) for batch in same]
        found.append((kind, members, np.concatenate(padded)))
    return found
