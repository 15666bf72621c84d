"""Batch protein folding with AlphaFold2 as a Snakemake workflow."""

import importlib
from typing import Any

__version__ = "0.2.0"

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """`snakefold.load`, imported when it is asked for: every command imports this package."""
    if name == "load":
        return importlib.import_module("snakefold.loading").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
