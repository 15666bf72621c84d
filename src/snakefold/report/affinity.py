"""The affinity of a ligand, where an engine predicts one: what its card says."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from snakefold import engines
from snakefold.kernel.contracts import Confidence

_UNITS = ((1e-6, "fM", 1e9), (1e-3, "pM", 1e6), (1.0, "nM", 1e3), (1e3, "µM", 1.0), (1e6, "mM", 1e-3))


def concentration(value: float) -> str:
    """An IC50 in a unit that is easily read, and in nM, three digits: `31.6 nM`, `1.34 µM (1,340 nM)`.

    Args:
        value: log10 of the IC50 in µM.
    """
    micromolar = 10.0**value
    shown, unit = next(
        ((micromolar * factor, unit) for below, unit, factor in _UNITS if float(f"{micromolar:.3g}") < below),
        (micromolar * 1e-6, "M"),
    )
    nanomolar = "" if unit == "nM" else f" ({_digits(micromolar * 1e3)} nM)"
    return f"{_digits(shown)} {unit}{nanomolar}"


def card(found: Confidence) -> dict[str, Any] | None:
    """What static/target.js shows; None if no affinity was predicted.

    Returns:
        value, ic50, probability of the ligand, the same of `members`, `note`. What was not given is None.
    """
    columns = engines.affinity(found.engine)
    if columns is None or _number(found, columns.value) is None:
        return None
    return {
        **_entry(found, columns.value, columns.probability),
        "members": [
            _entry(found, *names) for names in columns.members if _number(found, names[0]) is not None
        ],
        "note": columns.note,
    }


def shown(found: Confidence) -> Collection[str]:
    """The scores that the card shows."""
    columns = engines.affinity(found.engine)
    return columns.columns if columns is not None and card(found) is not None else ()


def _entry(found: Confidence, value: str, probability: str) -> dict[str, Any]:
    number = _number(found, value)
    return {
        "value": number,
        "ic50": None if number is None else concentration(number),
        "probability": _number(found, probability),
    }


def _number(found: Confidence, name: str) -> float | None:
    value = found.scores.get(name)
    if isinstance(value, bool | str) or value is None or not math.isfinite(value):
        return None
    return float(value)


def _digits(number: float) -> str:
    """Three digits, without an exponent."""
    rounded = float(f"{number:.3g}")
    decimals = max(0, 2 - math.floor(math.log10(rounded))) if rounded else 0
    return f"{rounded:,.{decimals}f}"
