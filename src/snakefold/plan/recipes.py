"""Names of results in the store, as the planner needs them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipes:
    """Digests that name results in the store.

    Attributes:
        fold, complex_fold: predictions of monomers and of complexes.
        msa, paired_msa: MSAs, and MSAs with rows for pairing.
        rehearsal: the predictions are made with random parameters.
    """

    fold: str
    complex_fold: str
    msa: str
    paired_msa: str
    rehearsal: bool

    def of(self, chains: int) -> str:
        """Recipe of the prediction of a target with so many chains."""
        return self.complex_fold if chains > 1 else self.fold
