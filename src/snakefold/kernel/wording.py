"""Words that depend on numbers."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, one: str, many: str = "") -> str:
    """`1 batch`, `1,200 batches`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return ", ".join(items[:-1]) + (" and " if len(items) > 1 else "") + "".join(items[-1:])


def rehearsal_text(random: int, total: int) -> str:
    """What marks results of which some were made with random parameters; empty if none was."""
    if not random:
        return ""
    which = "the structures mean" if random == total else f"{random:,} of {total:,} structures mean"
    return f"REHEARSAL: random parameters, {which} nothing"
