"""Targets that AlphaFold2's code cannot fold, whatever the settings and the parameters."""

from __future__ import annotations

from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, TargetError

#: One peptide bond.
_SHORTEST = 2


def check(target: TargetInput) -> None:
    """Refuse them. Raises TargetError(invalid_input)."""
    if target.length < _SHORTEST:
        raise TargetError(
            Reason.INVALID_INPUT, f"{target.length} residue is no protein.", "Give a longer sequence."
        )
    if set("".join(target.chains)) == {"X"}:
        raise TargetError(
            Reason.INVALID_INPUT, "Every residue is unknown (X).", "Give a sequence of amino acids."
        )
