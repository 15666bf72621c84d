"""Words that depend on numbers."""

from __future__ import annotations


def count(number: int, one: str, many: str = "") -> str:
    """`1 batch`, `1,200 batches`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
