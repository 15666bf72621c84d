"""The folder of all engines' parameters that the setting `weights` means. Each engine has its place in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from snakefold.kernel.paths import expanded

ENVIRONMENT = "SNAKEFOLD_WEIGHTS"


def default_folder() -> Path:
    """Where parameters are if nothing is named: the platform's folder for the user's data."""
    from platformdirs import user_data_path

    return user_data_path("snakefold", appauthor=False) / "weights"


def named_folder(setting: str) -> Path | None:
    """The folder that the setting `weights` means, whether anything is there or not; None: random ones."""
    if setting == "rehearsal":
        return None
    return Path(expanded(setting)) if setting != "auto" else fetch_folder()


def fetch_folder() -> Path:
    """Where a fetch puts parameters if no folder is given: where `weights: auto` looks first."""
    named = os.environ.get(ENVIRONMENT)
    return Path(expanded(named)) if named else default_folder()


def meant_folder(setting: str, some: Callable[[Path], bool]) -> tuple[Path, str] | None:
    """The folder that must have parameters, and who named it; None: random ones are meant.

    Args:
        some: whether a folder has any of them. Only the user's data folder may have none: random parameters
            never stand in for official ones that were meant to be there.
    """
    if setting == "rehearsal":
        return None
    if setting != "auto":
        return Path(expanded(setting)), "the setting `weights`"
    if named := os.environ.get(ENVIRONMENT):
        return Path(expanded(named)), f"${ENVIRONMENT}"
    try:
        folder = default_folder()
    except RuntimeError:  # neither HOME nor an entry of the user
        return None
    return (folder, "the user's data folder") if some(folder) else None
