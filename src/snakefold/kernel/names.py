"""Names made safe: ids that become file names, and text of unknown origin that is shown to a person."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_ID = 100

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_DOTS = re.compile(r"\.{2,}")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)


def safe_id(text: str, otherwise: str) -> str:
    """`text` as a name that is a plain, visible file name on every system: `[A-Za-z0-9][A-Za-z0-9._-]{0,99}`.

    Runs of other characters become `_`, runs of dots one dot; what a name may not begin or end with is cut
    off, names that Windows reserves (`con`, `nul.txt`) are prefixed, and a text of which nothing is left
    becomes `otherwise`.
    """
    name = _DOTS.sub(".", _UNSAFE.sub("_", text)).lstrip("._-")[:MAX_ID].rstrip("._-")
    if _RESERVED.fullmatch(name):
        name = f"target-{name}"
    return name or otherwise


def unique_ids(ids: Iterable[str]) -> list[str]:
    """The ids, in order, with `-2`, `-3`, … appended to those met before, upper and lower case being equal.

    The first record with a name keeps it, wherever it stands: `a, a, a-2` becomes `a, a-3, a-2`.
    """
    wanted = list(ids)
    taken = {name.lower() for name in wanted}
    met: set[str] = set()
    copies: dict[str, int] = {}
    unique: list[str] = []
    for name in wanted:
        folded, free = name.lower(), name
        if folded in met:
            free, copies[folded] = _next_free(name, copies.get(folded, 2), taken)
            taken.add(free.lower())
        met.add(folded)
        unique.append(free)
    return unique


def _next_free(name: str, number: int, taken: set[str]) -> tuple[str, int]:
    while True:
        suffix = f"-{number}"
        number += 1
        candidate = name[: MAX_ID - len(suffix)] + suffix
        if candidate.lower() not in taken:
            return candidate, number


def shown(text: str, limit: int | None = 200) -> str:
    """`text` on one line for a terminal, a table or a page: what cannot be printed replaced, then cut."""
    if not text.isprintable():
        text = "".join(
            letter if letter.isprintable() else " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}"
            for letter in (text if limit is None else text[: limit + 1])
        )
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"
