"""What is known of results from an MSA server: their recipes, dates, and files of their own in the store.

Nothing here asks the server, or imports what does: a plan and a prediction need this too.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from snakefold.msa.server.settings import ServerSettings

#: Raised when what is made of an answer changes.
_VERSION = 1
#: File of a chain's entry in the store: entries of pdb70 that the server found, a line each, best first.
TEMPLATE_HITS = "raw/pdb70_hits.txt"


def recipe(settings: ServerSettings) -> dict[str, Any]:
    """What a chain's alignment depends on, as far as it is known: the server hides its databases."""
    return _recipe(settings, settings.mode)


def pairs_recipe(settings: ServerSettings) -> dict[str, Any]:
    """The same of the paired rows of a complex."""
    return _recipe(settings, settings.pairing)


def _recipe(settings: ServerSettings, mode: str) -> dict[str, Any]:
    return {
        "tool": "server",
        "parameters": {"server": {"version": _VERSION, "url": settings.url, "mode": mode}},
        "databases": [{"name": "server", "release": settings.databases}],
    }


def paired_texts(files: Mapping[str, bytes]) -> list[str]:
    """The A3M of each different chain, from the files of a complex's entry."""
    texts: list[str] = []
    while (text := files.get(f"paired_{len(texts) + 1}.a3m")) is not None:
        texts.append(text.decode())
    return texts


def today() -> str:
    """The date, in UTC, for what depends on a server's databases of the day."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
