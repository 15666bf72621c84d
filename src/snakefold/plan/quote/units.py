"""Amounts as people read them."""

from __future__ import annotations

import math
from collections.abc import Callable

from snakefold.plan.quote.model import Range


def money(dollars: float) -> str:
    """Dollars: cents below a thousand, and more digits below a dime."""
    if 0 < dollars < 0.1:
        return f"${dollars:.4f}" if dollars >= 0.0001 else "under $0.0001"
    return f"${dollars:,.2f}" if dollars < 1000 else f"${dollars:,.0f}"


def hours(value: float) -> str:
    """A duration given in hours, in the unit that suits it."""
    if value * 3600 < 99.5:
        return f"{value * 3600:.0f} s"
    if value * 60 < 99.5:
        return f"{value * 60:.0f} min"
    return f"{value:,.1f} h" if value < 99.95 else f"{value:,.0f} h"


def seconds(value: float) -> str:
    """A duration given in seconds."""
    return hours(value / 3600)


def gigabytes(value: float) -> str:
    """An amount of data given in gigabytes."""
    if value < 0.0995:
        return f"{value * 1000:.1f} MB"
    return f"{value:.1f} GB" if value < 1000 else f"{value / 1000:.1f} TB"


def spread(amount: Range, show: Callable[[float], str]) -> str:
    """`$12.00 ($9.00 to $18.00)`; the bare value where nothing is uncertain."""
    expected, low, high = show(amount.expected), show(amount.low), show(amount.high)
    return expected if low == high else f"{expected} ({low} to {high})"


def rounded_up(value: float) -> str:
    """`value` with two digits, and not less: what a limit can be set to."""
    if value <= 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / unit - 1e-9) * unit:.10g}"
