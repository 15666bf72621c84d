"""Batches that fit what the executor can carry, by the sizes of alignments and results.

A request or a result that is too large fails after the alignments are made, or after the prediction is paid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from snakefold.config import Config
from snakefold.engines.spec import Work
from snakefold.kernel import archive
from snakefold.kernel.errors import SnakefoldError
from snakefold.molecules.targets import Target
from snakefold.plan.batches import Batch, named
from snakefold.plan.cost import disk
from snakefold.plan.cost.msa import database_bytes
from snakefold.plan.executors import Executor
from snakefold.plan.records import Records

Floats = NDArray[np.float64]

#: Alignments may come out larger than expected, for how many rows a search finds is a guess. What a structure
#: takes is known well, and the estimate errs upwards (docs/costs.md).
_ALIGNMENT_MARGIN = 1.25
#: Bytes of a target in an archive besides its files: its headers, and its part of request and response.
_HEADERS = 2_000
#: Bytes of a batch's results on any executor: a worker packs them, and collection unpacks them, in memory.
_BATCH = 2 << 30
_SHOWN = 5


class CarryError(SnakefoldError):
    """Targets are too large for the way that the executor's files travel: nothing was started."""


class Loads:
    """Bytes that each target adds to its batch's inputs and results; of those at `indices`, the computed."""

    def __init__(
        self,
        records: Records,
        indices: NDArray[np.int64],
        config: Config,
        works: Sequence[Work],
    ) -> None:
        aligned = [kind.needs.alignment for kind in records.kinds]
        database = database_bytes(config.msa)
        self.inputs, self.results = np.zeros((2, len(records.targets)))
        for index in indices.tolist():
            target = records.targets[index]
            sent = _alignments(target, database) if aligned[records.groups[index]] else 0.0
            self.inputs[index] = _ALIGNMENT_MARGIN * sent + _HEADERS
        for group, work in enumerate(works):
            members = indices[records.groups[indices] == group]
            archives = disk.packed_result_bytes(records.lengths[members], work)
            # The alignment that a target was predicted with comes back beside its structures.
            self.results[members] = archives + self.inputs[members]


def are_heavy(batches: Sequence[Batch], records: Records, works: Sequence[Work]) -> bool:
    """Whether the results of some batch are too large for one archive."""
    results = result_bytes(records, works)
    return any(results[list(batch.members)].sum() > _BATCH for batch in batches)


def result_bytes(records: Records, works: Sequence[Work]) -> Floats:
    """[targets] bytes of each target's results, packed."""
    results = np.zeros(len(records.targets))
    for group, work in enumerate(works):
        members = np.flatnonzero(records.groups == group)
        results[members] = disk.packed_result_bytes(records.lengths[members], work)
    return results


def fit_batches(
    batches: Sequence[Batch], loads: Loads, records: Records, executor: Executor
) -> tuple[list[Batch], list[str]]:
    """Batches cut so that each fits, and what the quote should say of it.

    A batch that fits stays as it is, with its name: what was computed under it is found again.

    Raises:
        CarryError: a target does not fit alone; the text says which, how large they are and what to set.
    """
    most_in = math.inf if executor.inputs is None else executor.inputs
    most_out = math.inf if executor.results is None else executor.results
    _see_that_archives_hold(batches, loads, records)
    members = np.array([index for batch in batches for index in batch.members], dtype=np.int64)
    too_large = members[(loads.inputs[members] > most_in) | (loads.results[members] > most_out)]
    if len(too_large):
        raise CarryError(_too_large(too_large.tolist(), loads, records, executor))
    found: list[Batch] = []
    number = len(batches)
    for batch in batches:
        parts = list(_parts(batch.members, loads, most_in, min(most_out, _BATCH)))
        if len(parts) == 1:
            found.append(batch)
            continue
        first = int(batch.name[1:].partition("-")[0])
        for part in parts:
            place = first if part is parts[0] else (number := number + 1)
            found.append(_part(batch, part, place, records))
    if len(found) == len(batches):
        return found, []
    if most_in == most_out == math.inf:
        return found, [
            f"{len(found)} batches instead of {len(batches)}: the results of a batch are kept below "
            f"{_mb(_BATCH)}."
        ]
    return found, [
        f"{len(found)} batches instead of {len(batches)}: without storage a job on {executor.name} carries "
        f"{_mb(most_in)} of inputs and {_mb(most_out)} of results. Larger batches cost less: set "
        f"{executor.more} in the profile (docs/runpod.md)."
    ]


def _see_that_archives_hold(batches: Sequence[Batch], loads: Loads, records: Records) -> None:
    """Raises CarryError for targets whose results no archive can hold."""
    members = [index for batch in batches for index in batch.members if loads.results[index] > archive.MOST]
    if members:
        largest = sorted(members, key=lambda index: -loads.results[index])[:_SHOWN]
        shown = ", ".join(
            f"{records.targets[index].id[:80]} ({records.lengths[index]} residues: "
            f"{_mb(loads.results[index])})"
            for index in largest
        )
        raise CarryError(
            f"{len(members)} of the targets to predict would have larger results than an archive holds "
            f"({_mb(archive.MOST)}): {shown}. Nothing has been started. Keep fewer arrays of each model, "
            "predict fewer models and seeds, or leave these targets out."
        )


def _alignments(target: Target, database_bytes: float) -> float:
    if target.msa is not None:
        size = target.msa.stat().st_size
        # A .gz is about as large as what becomes of it.
        return size if target.msa.suffix == ".gz" else disk.packed_text_bytes(size)
    lengths = [len(chain) for chain in set(target.searched)]
    own = sum(disk.packed_text_bytes(path.stat().st_size) for _, path in target.files)
    return float(disk.packed_msa_bytes(lengths, database_bytes).sum() + own)


def _parts(
    members: Sequence[int], loads: Loads, most_in: float, most_out: float
) -> Iterator[tuple[int, ...]]:
    part: list[int] = []
    size_in = size_out = 0.0
    for index in members:
        more_in, more_out = float(loads.inputs[index]), float(loads.results[index])
        if part and (size_in + more_in > most_in or size_out + more_out > most_out):
            yield tuple(part)
            part, size_in, size_out = [], 0.0, 0.0
        part.append(index)
        size_in, size_out = size_in + more_in, size_out + more_out
    yield tuple(part)


def _part(batch: Batch, members: tuple[int, ...], number: int, records: Records) -> Batch:
    lengths = [int(records.lengths[index]) for index in members]
    edges = tuple(
        sorted({next(edge for edge in batch.bucket_edges if edge >= length) for length in lengths})
        if batch.bucket_edges
        else ()
    )
    of_seeds = records.kinds[int(records.groups[members[0]])].part
    name = named(batch.name[0], number, edges[-1] if edges else max(lengths), of_seeds)
    return replace(batch, name=name, bucket_edges=edges, members=members)


def _too_large(indices: Sequence[int], loads: Loads, records: Records, executor: Executor) -> str:
    largest = sorted(indices, key=lambda index: -max(loads.inputs[index], loads.results[index]))[:_SHOWN]
    shown = "\n".join(
        f"  {records.targets[index].id[:80]} ({records.lengths[index]} residues): inputs "
        f"{_mb(loads.inputs[index])}, results {_mb(loads.results[index])}"
        for index in largest
    )
    more = f"\n  … and {len(indices) - len(largest)} more" if len(indices) > len(largest) else ""
    return (
        f"{len(indices)} of the targets to predict are too large for requests to {executor.name}: without "
        f"storage a job carries {_mb(executor.inputs or 0)} of inputs and {_mb(executor.results or 0)} of "
        f"results. Nothing has been started, nothing has been spent. Set {executor.more} in the profile "
        f"(docs/runpod.md), or leave these targets out. Maximum expected sizes:\n{shown}{more}"
    )


def _mb(size: float) -> str:
    return f"{size / 1e6:.1f} MB"
