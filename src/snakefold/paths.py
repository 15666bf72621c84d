"""Where the workflow, its profiles and its resources are: the checkout, or the installed package."""

from __future__ import annotations

from pathlib import Path

from snakefold.errors import SnakefoldError


def house() -> Path:
    """Folder that holds workflow/, config/, profiles/ and resources/."""
    package = Path(__file__).resolve().parent
    for folder in (package.parents[1], package / "_house"):
        if (folder / "workflow" / "Snakefile").is_file():
            return folder
    raise SnakefoldError(
        f"The workflow is missing beside {package}. Install snakefold from a checkout or a released wheel."
    )


def resource(path: str | Path) -> Path:
    """A path as the user gave it, or the file of that name that comes with snakefold."""
    given = Path(path)
    if not given.exists() and not given.is_absolute() and (house() / given).exists():
        return house() / given
    return given
