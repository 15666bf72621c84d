"""Buckets cut into pieces, and small neighbouring pieces joined into one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.spec import Work
from snakefold.plan.assignment.types import Bucket, Sizes
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Seconds of each target of a bucket, and of compiling its shape [targets], from their lengths in order.
Measure = Callable[[Bucket, Ints], tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Targets of a bucket that are in one batch: places `start` to `stop` (exclusive), shortest first.

    `residues` are counted with padding; `seconds` of compilation and prediction, without start and load.
    """

    bucket: Bucket
    start: int
    stop: int
    residues: int
    seconds: float


def target_seconds(
    bucket: Bucket, lengths: Ints, work: Work, gpu: GpuClass, model: CostModel
) -> tuple[Floats, Floats]:
    """Seconds of prediction and relaxation of targets of a bucket, and of compiling each one's shape."""
    if bucket.padded_length is None:
        predict, compiling = (
            part(lengths, work, gpu) for part in (model.predict_seconds, model.compile_seconds)
        )
    else:
        predict, compiling = (
            np.full(len(lengths), part([bucket.padded_length], work, gpu)[0])
            for part in (model.predict_seconds, model.compile_seconds)
        )
    return predict + model.relax_seconds(lengths, work, gpu), compiling


def measure_with(
    classes: Iterable[GpuClass], works: Mapping[int, Work] | Sequence[Work], model: CostModel
) -> Measure:
    """What asks the model; `works` by group."""
    gpus = {gpu.name: gpu for gpu in classes}

    def measure(bucket: Bucket, lengths: Ints) -> tuple[Floats, Floats]:
        return target_seconds(bucket, lengths, works[bucket.group], gpus[bucket.gpu], model)

    return measure


def cut_bucket(
    bucket: Bucket, lengths: Ints, sizes: Sizes, measure: Measure | None = None, *, first: int = 0
) -> list[Piece]:
    """Pieces of nearly equal size, so that no job is left over with a handful of targets.

    Args:
        lengths: of the bucket's targets, shortest first.
        sizes: targets and residues of a piece at the most; a longer target is a piece of its own.
        measure: asked for the pieces' seconds, which are 0 without it.
        first: place of the bucket's first target.
    """
    count = len(lengths)
    pieces = -(-count // min(bucket.batch_targets, sizes.targets))
    starts = _starts(_padded(bucket, lengths), -(-count // pieces), sizes.residues)
    residues = np.add.reduceat(_padded(bucket, lengths), starts)
    seconds = np.zeros(len(starts))
    if measure is not None:
        each, compiling = measure(bucket, lengths)
        shapes = _padded(bucket, lengths)
        new = np.append(True, shapes[1:] != shapes[:-1])
        new[starts] = True
        seconds = np.add.reduceat(each + new * compiling, starts)
    stops = np.append(starts[1:], count)
    rows = zip(
        (first + starts).tolist(), (first + stops).tolist(), residues.tolist(), seconds.tolist(), strict=True
    )
    return [Piece(bucket, *row) for row in rows]


def join(pieces: Sequence[Piece], sizes: Sizes) -> list[list[Piece]]:
    """Batches of neighbouring pieces of one class and kind, each as full as the sizes allow.

    Taking the next piece as long as it fits makes as few batches as any other way to join neighbours. They
    are in the order of their last pieces.

    Args:
        pieces: shortest first.
    """
    done: list[tuple[int, list[Piece]]] = []
    filling: dict[tuple[str, int, bool], list[Piece]] = {}
    last: dict[tuple[str, int, bool], int] = {}
    for place, piece in enumerate(pieces):
        kind = (piece.bucket.gpu, piece.bucket.group, piece.bucket.padded_length is None)
        batch = filling.setdefault(kind, [])
        if batch and not _fits([*batch, piece], sizes):
            done.append((last[kind], batch))
            batch = filling[kind] = []
        batch.append(piece)
        last[kind] = place
    done += [(last[kind], batch) for kind, batch in filling.items()]
    return [batch for _, batch in sorted(done, key=lambda item: item[0])]


def _fits(pieces: Sequence[Piece], sizes: Sizes) -> bool:
    return (
        sum(piece.stop - piece.start for piece in pieces) <= sizes.targets
        and sum(piece.residues for piece in pieces) <= sizes.residues
        and sum(piece.seconds for piece in pieces) <= sizes.seconds
    )


def _padded(bucket: Bucket, lengths: Ints) -> Ints:
    return lengths if bucket.padded_length is None else np.full_like(lengths, bucket.padded_length)


def _starts(padded: Ints, targets: int, residues: int) -> Ints:
    """First targets of pieces of so many targets and residues at the most."""
    if targets * int(padded[-1]) <= residues:
        return np.arange(0, len(padded), targets)
    starts = [0]
    total = 0
    for place, size in enumerate(padded.tolist()):
        if place - starts[-1] == targets or (total + size > residues and place > starts[-1]):
            starts.append(place)
            total = 0
        total += size
    return np.array(starts)
