"""Engines: one module each, one protocol (`snakefold.engines.spec`)."""

from __future__ import annotations

import importlib
from typing import cast

from snakefold.engines.spec import Engine

_MODULES = {
    "alphafold2": "snakefold.engines.alphafold2",
    "flashabb": "snakefold.engines.flashabb",
    "reuse": "snakefold.engines.reuse",
}


def get(name: str) -> Engine:
    """The engine called `name`. Its heavy libraries are imported when it starts, not here."""
    return cast(Engine, importlib.import_module(_MODULES[name]))
