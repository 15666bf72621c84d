"""Where things are: the workflow, what comes with it, the user's home, paths as they are given."""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import snakefold
from snakefold.kernel.errors import SnakefoldError

if TYPE_CHECKING:
    from snakefold.kernel.store import Store

#: Environment variable: the folder that files which an input names must be in. Unset: any file.
ONLY_BELOW = "SNAKEFOLD_FILES_BELOW"


def house() -> Path:
    """Folder that holds workflow/, config/, profiles/ and resources/: of the checkout or of the wheel."""
    package = Path(snakefold.__file__).resolve().parent
    for folder in (package.parents[1], package / "share"):
        if (folder / "workflow" / "Snakefile").is_file():
            return folder
    raise SnakefoldError(
        f"{package}: the workflow is missing, so the installation is damaged. "
        "Install it again: pip install --force-reinstall snakefold."
    )


def packaged(path: str | Path) -> Path:
    """The file that comes with snakefold, whatever the current folder has under its name; else the path."""
    own = house() / path
    return own if own.exists() else Path(path)


def expanded(path: str) -> str:
    """A path with `~` or `~user` replaced; a name that begins with `~` and is no user's stays a name.

    Raises:
        SnakefoldError: `~` is given and this user has no home folder.
    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError as error:
        if path.partition(os.sep)[0] != "~":
            return path
        raise SnakefoldError(
            f"{path}: this user has no home folder. Write the path without ~, or set HOME."
        ) from error


def have_home() -> None:
    """Give a user whom the system does not know (a container's --user) a name, and a folder for caches.

    Without them, programs fail, or make a folder called `~` in the current one.

    Raises:
        SnakefoldError: somebody else has put something there.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())
    with suppress(RuntimeError):
        if Path.home().is_absolute():
            return
    home = Path(tempfile.gettempdir()) / f"snakefold-{os.getuid()}"
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        usable = not home.is_symlink() and home.stat().st_uid == os.getuid()
    except OSError:
        usable = False
    if not usable:
        raise SnakefoldError(
            f"{home}: is not yours, and you have no home folder. Set HOME to a folder that you can write."
        )
    os.environ["HOME"] = str(home)


def resource(path: str | Path) -> Path:
    """A path as the user gave it, or the file of that name that comes with snakefold."""
    given = Path(path)
    if not given.exists() and not given.is_absolute() and (house() / given).exists():
        return house() / given
    return given


def may_be_named(path: Path) -> bool:
    """Whether an input may name this file as one that belongs to it.

    Where inputs come from somebody else, the environment names the only folder whose files they may name.
    """
    fence = os.environ.get(ONLY_BELOW)
    if not fence:
        return True
    try:
        return path.resolve().is_relative_to(Path(fence).resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def put_programs_on_path() -> None:
    """Let child processes find the programs beside this interpreter, its environment activated or not.

    Whatever the locale, they read and write UTF-8: names of files go into files, and come back.
    """
    os.environ["PYTHONUTF8"] = "1"
    folder = str(Path(sys.executable).parent)
    if folder not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", "")])


def compiled_programs(store: Store) -> Path:
    """Folder where compiled programs are kept: beside the results, or local if those are on S3."""
    if store.local is not None:
        return store.local / "compiled"
    from platformdirs import user_cache_path

    return user_cache_path("snakefold") / "compiled"
