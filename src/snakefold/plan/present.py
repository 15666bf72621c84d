"""What need not be computed: names of results in the store, and what it and the user's collections have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.config import Config
from snakefold.engines.reuse.found import Found
from snakefold.kernel.store import Entry, Store
from snakefold.plan.records import Records

#: Names results that nothing is known of: the store has none under this name.
UNKNOWN = "f" * 16


@dataclass(frozen=True, slots=True)
class Recipes:
    """Digests that name results in the store.

    Attributes:
        folds: predictions, by group (`groups.Groups`).
        msa, paired_msa: MSAs, and MSAs with rows for pairing; empty if no engine of the run reads any.
        templates: templates of chains, whether their MSAs have rows for pairing or not; None if none are
            searched.
        pairs: rows of complexes that an MSA server pairs; None if the rows for pairing are the chains' own.
        rehearsals: by group, whether predictions are made with random parameters.
        engines: by group, what the engine adds to the recipe: its version, settings and parameters. Whoever
            predicts compares it with what it has. Empty where nothing is known.
        searches: what the recipes of MSAs and templates were made of, by digest. Whoever searches compares.
    """

    folds: Sequence[str]
    msa: str
    paired_msa: str
    rehearsals: Sequence[bool]
    templates: str | None = None
    pairs: str | None = None
    engines: Sequence[Mapping[str, Any]] = ()
    searches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def rehearsal(self) -> bool:
        """Some predictions are made with random parameters."""
        return any(self.rehearsals)

    def engine_recipe(self, group: int) -> dict[str, Any]:
        """What the engine adds to the recipe of a group."""
        return dict(self.engines[group]) if self.engines else {}


#: So few are asked for one by one: a shared store may have millions of entries to list.
_FEW = 64


@dataclass(frozen=True, slots=True)
class Present:
    """Whether the store has each target's result, and by index what a collection has of the others.

    `spread`: targets whose parts are computed in their place (`parts.spread`).
    """

    stored: NDArray[np.bool_]
    found: Mapping[int, Found]
    spread: frozenset[int] = frozenset()

    def to_do(self) -> NDArray[np.int64]:
        """Indices of the targets, and parts of targets, that must be computed."""
        rest = ~self.stored
        rest[list(self.found)] = False
        rest[list(self.spread)] = False
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
            if (target := records.targets[index]).msa is None
            and target.assembly is None
            and target.backbone is None
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
