"""What need not be computed: results in the store, and structures in a collection of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snakefold.config import Config
from snakefold.engines.reuse.found import Found
from snakefold.kernel.store import Entry, Store
from snakefold.plan.recipes import Recipes
from snakefold.plan.records import Records

#: So few are asked for one by one: a shared store may have millions of entries to list.
_FEW = 64


@dataclass(frozen=True, slots=True)
class Present:
    """Whether the store has each target's result, and by index what a collection has of the others."""

    stored: NDArray[np.bool_]
    found: Mapping[int, Found]

    def to_do(self) -> NDArray[np.int64]:
        """Indices of the targets that must be computed."""
        rest = ~self.stored
        rest[list(self.found)] = False
        return np.flatnonzero(rest)

    def of(self, targets: Sequence[int]) -> Present:
        """What is said of these targets, numbered anew."""
        found = {number: self.found[index] for number, index in enumerate(targets) if index in self.found}
        return Present(self.stored[list(targets)], found)


def find_present(
    records: Records, recipes: Recipes, config: Config, store: Store | None, log: Callable[[str], None]
) -> Present:
    """Look all targets up. A target that brings its own A3M asks for a prediction: no collection has that."""
    stored = np.zeros(len(records.targets), dtype=np.bool_)
    for group, recipe in enumerate(recipes.folds):
        wanted = {records.keys[i]: i for i in np.flatnonzero(records.groups == group).tolist()}
        known = known_keys(store, "fold", recipe, wanted)
        stored[[wanted[key] for key in known]] = True
    found: dict[int, Found] = {}
    if config.reuse:
        from snakefold.engines.reuse.lookup import lookup

        index_of = {
            records.keys[index]: index
            for index in np.flatnonzero(~stored).tolist()
            if records.targets[index].msa is None
        }
        chains = {key: records.targets[index].chains for key, index in index_of.items()}
        taken = lookup(config.reuse, chains, rehearsal=recipes.rehearsal, log=log)
        found = {index_of[key]: item for key, item in taken.items()}
    return Present(stored, found)


def known_keys(store: Store | None, kind: str, recipe: str, wanted: Collection[str]) -> set[str]:
    """Those of the `wanted` keys that the store has; many are answered by one listing."""
    if store is None or not wanted:
        return set()
    if len(wanted) <= _FEW:
        return {key for key in wanted if store.has(Entry(kind, recipe, key))}
    return store.keys(kind, recipe).intersection(wanted)
