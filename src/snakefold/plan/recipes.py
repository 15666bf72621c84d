"""Names of results in the store, as the planner needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
