"""Where the workflow, its profiles and its resources are: in the checkout snakefold is installed from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from snakefold.errors import SnakefoldError

if TYPE_CHECKING:
    from snakefold.store import Store


def house() -> Path:
    """Folder that holds workflow/, config/, profiles/ and resources/."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / "workflow" / "Snakefile").is_file():
        raise SnakefoldError(
            f"{folder}: has no workflow. Install snakefold from its checkout: pip install --editable ."
        )
    return folder


def resource(path: str | Path) -> Path:
    """A path as the user gave it, or the file of that name that comes with snakefold."""
    given = Path(path)
    if not given.exists() and not given.is_absolute() and (house() / given).exists():
        return house() / given
    return given


def put_programs_on_path() -> None:
    """Let child processes find the programs beside this interpreter, its environment activated or not.

    A conda environment that Snakemake activates for a rule comes before them.
    """
    folder = str(Path(sys.executable).parent)
    if folder not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", "")])


def compiled_programs(store: Store) -> Path:
    """Folder where compiled programs are kept: beside the results, or local if those are on S3."""
    if store.local is not None:
        return store.local / "compiled"
    from platformdirs import user_cache_path

    return user_cache_path("snakefold") / "compiled"
