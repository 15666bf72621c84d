"""Targets whose seeds are spread over several jobs (`batch.seeds_per_job`).

Each part is a result of its own, that of a run with these seeds alone, and is stored as such. The target's
models are ranked together from its parts, which costs nothing that is worth storing (`run.ranked`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.store import Store
from snakefold.plan.batches import Batch
from snakefold.plan.present import Present, Recipes, known_keys
from snakefold.plan.records import Records


def spread(
    records: Records, present: Present, recipes: Recipes, store: Store | None
) -> tuple[Records, Present]:
    """Parts of the targets to do whose seeds are predicted by several jobs, behind all targets.

    Which parts the store has is looked up; a target of which it has all need not be computed.
    """
    kinds = records.kinds
    groups = [
        kinds.needed_parts(number, rehearsal=recipes.rehearsals[number]) if number in kinds.parts else []
        for number in range(len(kinds))
    ]
    whole, parts = len(records.targets), {}
    owners: list[int] = []
    of: list[int] = []
    for index in present.to_do().tolist():
        if own := groups[records.groups[index]]:
            parts[index] = tuple(range(whole + len(owners), whole + len(owners) + len(own)))
            owners += [index] * len(own)
            of += own
    if not parts:
        return records, present
    more = replace(
        records,
        targets=[*records.targets, *(records.targets[index] for index in owners)],
        keys=[*records.keys, *(records.keys[index] for index in owners)],
        lengths=np.concatenate([records.lengths, records.lengths[owners]]),
        groups=np.concatenate([records.groups, np.array(of, dtype=np.int64)]),
        parts=parts,
    )
    stored = np.concatenate([present.stored, _stored(more, whole, recipes, store)])
    return more, Present(stored, present.found, frozenset(parts))


def _stored(records: Records, first: int, recipes: Recipes, store: Store | None) -> NDArray[np.bool_]:
    """Of the parts, which begin at `first`, whether the store has them."""
    stored = np.zeros(len(records.targets) - first, dtype=np.bool_)
    groups = records.groups[first:]
    for group in np.unique(groups).tolist():
        members = np.flatnonzero(groups == group)
        place = {records.keys[first + member]: member for member in members.tolist()}
        known = known_keys(store, "fold", recipes.folds[group], place)
        stored[[place[key] for key in known]] = True
    return stored


def batches_of_parts(batches: Sequence[Batch], records: Records) -> dict[int, list[str]]:
    """Of each target whose seeds are spread, the batches that predict its parts."""
    names: dict[int, list[str]] = {index: [] for index in records.parts}
    owner = {part: index for index, parts in records.parts.items() for part in parts}
    for batch in batches:
        for member in batch.members:
            if member in owner:
                names[owner[member]].append(batch.name)
    return names
