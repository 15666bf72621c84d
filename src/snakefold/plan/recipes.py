"""Names of results in the store, as the planner needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipes:
    """Digests that name results in the store.

    Attributes:
        fold, complex_fold: predictions of monomers and of complexes.
        msa, paired_msa: MSAs, and MSAs with rows for pairing.
        templates: templates of chains, whether their MSAs have rows for pairing or not; None if none are
            searched.
        rehearsal: the predictions are made with random parameters.
        engines: what the engine adds to the recipe of monomers (False) and of complexes (True): its version,
            settings and parameters. Whoever predicts compares it with what it has.
        searches: what the recipes of MSAs and templates were made of, by digest. Whoever searches compares.
    """

    fold: str
    complex_fold: str
    msa: str
    paired_msa: str
    rehearsal: bool
    templates: str | None = None
    engines: Mapping[bool, Mapping[str, Any]] = field(default_factory=dict)
    searches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, chains: int) -> str:
        """Recipe of the prediction of a target with so many chains."""
        return self.complex_fold if chains > 1 else self.fold
