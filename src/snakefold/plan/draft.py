"""A plan that is decided and not written yet, between `planner.draft_plan` and `tables.write_plan`.

A target is a number here, and what is said of it is in arrays: a million of them must fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snakefold.engines.spec import Work
from snakefold.kernel.wording import count, listed
from snakefold.plan.alignments import Alignments, Chunk
from snakefold.plan.batches import Batch
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel
from snakefold.plan.files import State
from snakefold.plan.present import Present, Recipes
from snakefold.plan.prices import Prices
from snakefold.plan.records import Records


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan that is not written yet.

    Attributes:
        batches: those that are predicted, then those fetched from the store and from collections.
        batch_of: of each target the index of its batch.
        chunk_of: chunk (by its index) that searches each chain (by its sequence) or complex that must be
            searched.
        works: what a prediction takes, by group.
        notes: what the quote should say of the batches.
    """

    records: Records
    recipes: Recipes
    present: Present
    alignments: Alignments
    batches: Sequence[Batch]
    batch_of: Sequence[int]
    prices: Prices
    chunks: Sequence[Chunk]
    chunk_of: Mapping[str, int]
    classes: Sequence[GpuClass]
    works: Sequence[Work]
    model: CostModel
    notes: Sequence[str] = ()

    def state(self, target: int) -> State:
        """State of a target, by its index."""
        if self.present.stored[target] or self._is_in_parts(target):
            return State.STORED
        return State.REUSED if target in self.present.found else State.TO_DO

    def _is_in_parts(self, target: int) -> bool:
        """Whether the store has all parts of a target."""
        parts = self.records.parts.get(target)
        return parts is not None and bool(self.present.stored[list(parts)].all())

    def parts(self, target: int) -> Sequence[int]:
        """What is computed for a target: its parts, or itself."""
        return self.records.parts.get(target, (target,))

    def counts(self) -> dict[str, int]:
        """Records by state, states that none has included."""
        found = Counter({str(state): 0 for state in State})
        refused = int((self.records.computed < 0).sum())
        unique = self.records.whole
        found[State.REFUSED] = refused
        found[State.DUPLICATE_OF] = len(self.records.rows) - refused - unique
        found[State.STORED] = int(self.present.stored[:unique].sum())
        found[State.STORED] += sum(map(self._is_in_parts, self.records.parts))
        found[State.REUSED] = len(self.present.found)
        found[State.TO_DO] = unique - found[State.STORED] - found[State.REUSED]
        return dict(found)

    def _sizes(self) -> str:
        """What all targets count together, in the units of their engines."""
        units = [kind.engine.size_unit for kind in self.records.kinds]
        sums: Counter[str] = Counter()
        groups, lengths = (each[: self.records.whole] for each in (self.records.groups, self.records.lengths))
        for group in np.unique(groups).tolist():
            sums[units[group]] += int(lengths[groups == group].sum())
        return listed([count(number, unit.removesuffix("s"), unit) for unit, number in sums.items()])

    def __str__(self) -> str:
        counts = self.counts()
        predicted = sum(bool(batch.gpu) for batch in self.batches)
        reused = f", {counts['reused']:,} in a collection" if counts["reused"] else ""
        searched, paired = self.alignments.count("templates"), self.alignments.count("pairs")
        templates = f", {searched:,} to search templates for," if searched else ""
        pairs = f", {count(paired, 'complex', 'complexes')} to pair" if paired else ""
        return (
            f"{count(len(self.records.rows), 'record')}: {count(self.records.whole, 'target')} "
            f"({self._sizes()}), "
            f"{count(counts['duplicate_of'], 'duplicate')}, {counts['refused']:,} refused; "
            f"{counts['stored']:,} in the store{reused}, {counts['to_do']:,} to predict in "
            f"{count(predicted, 'batch', 'batches')}; {count(self.alignments.count('msa'), 'chain')} to align"
            f"{pairs}{templates} in {count(len(self.chunks), 'chunk')}"
        )
