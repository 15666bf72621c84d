"""Boltz-2's parameters as a run asks for them: which folder is meant, what it lacks, what identifies it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from snakefold.engines.boltz2 import components, rehearsal
from snakefold.engines.boltz2.folder import Files
from snakefold.engines.spec import Parameters
from snakefold.engines.weights_folder import ENVIRONMENT, default_folder
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.paths import expanded
from snakefold.kernel.recipes import digest, file_fingerprint

COMMAND = "snakefold weights fetch boltz2"
GET = f"Fetch the official ones with: {COMMAND}"


def find(
    place: str,
    *,
    affinity: bool,
    draw: bool,
    blocks: int | None = None,
    whole: bool = True,
    cache: Path | None = None,
) -> Parameters | None:
    """The parameters that the setting `weights` means.

    Args:
        place: a folder; `auto` for $SNAKEFOLD_WEIGHTS, then the user's data folder, then random ones;
            `rehearsal` for random ones whatever is there.
        affinity: those of the affinity network as well.
        draw: declare random ones where they are meant; otherwise None is returned for them.
        blocks: of a rehearsal, as it was asked for: Boltz-2's random network has one size.
        whole: see that files are what their names say; who loads them at once sees it.
        cache: random ones are kept in a folder of this one.

    Raises:
        WeightsMissingError: the folder that is meant lacks a file, or has one that is none of Boltz-2's.
    """
    folder = _meant(place, affinity=affinity)
    if folder is not None:
        _see_that_all_are_there(folder, affinity=affinity)
        if whole:
            identity(folder, affinity=affinity)
        random = random_of(folder) is not None
        return Parameters(folder, rehearsal=random, blocks=blocks if random else None)
    if not draw:
        return None
    made = (cache or Path(".snakefold")) / f"rehearsal-boltz2-{digest(rehearsal.mark())[:8]}"
    rehearsal.declare(made)
    return Parameters(made, rehearsal=True, blocks=blocks)


def ready(folder: Path | None, codes: Iterable[str] = (), *, affinity: bool) -> Files:
    """The files, all there: random ones are drawn. Runs in the engine's environment.

    Args:
        codes: components that are predicted, of the Chemical Component Dictionary. One that is unknown is
            left out: Boltz says so when it reads the target.

    Raises:
        WeightsMissingError: a file is missing; or as `rehearsal.draw`.
    """
    where = _given(folder)
    _see_that_all_are_there(where, affinity=affinity)
    if rehearsal.declared(where) is not None:
        rehearsal.draw(where, codes, affinity=affinity)
    return Files(where)


def identity(weights: Path | None, *, affinity: bool) -> dict[str, Any]:
    """What identifies the parameters in a recipe.

    Random ones are named by what they are drawn from, whether they are drawn yet or not, so that every
    machine that draws them agrees.

    Raises:
        WeightsMissingError: a file is missing or damaged, or random and official ones are mixed.
    """
    folder = _given(weights)
    files = Files(folder)
    random = random_of(folder)
    there = [path for path in files.checkpoints(affinity=affinity) if path.is_file()]
    if any(rehearsal.read_mark(path) != random for path in there):
        raise WeightsMissingError(
            f"{files.folder}: mixes random and other parameters. Keep them in separate folders."
        )
    if random is not None:
        return {"rehearsal": True, **random}
    _see_that_all_are_there(folder, affinity=affinity)
    return {
        **{path.name: file_fingerprint(path) for path in there},
        files.molecules.name: components_fingerprint(files.molecules),
    }


def components_fingerprint(folder: Path) -> dict[str, Any]:
    """Identity of the folder of components without reading 45,000 files.

    Releases differ in the components that they have: the names are read, and the files of those that every
    prediction loads.

    Raises:
        WeightsMissingError: one of these is missing.
    """
    names = sorted(codes_in(folder))
    content = hashlib.sha256("\n".join(names).encode())
    for code in components.ALWAYS:
        try:
            content.update((folder / f"{code}.pkl").read_bytes())
        except OSError as error:
            raise WeightsMissingError(
                f"{folder}: lacks {code}.pkl, which every prediction needs. {GET}"
            ) from error
    return {"name": folder.name, "files": len(names), "sha256": content.hexdigest()}


# ---- where files are -------------------------------------------------------------------------------------
def _given(folder: Path | None) -> Path:
    if folder is None:
        raise WeightsMissingError(f"Boltz-2 needs parameters. {GET}")
    return folder


def _meant(place: str, *, affinity: bool) -> Path | None:
    """The folder that a setting means, which must have parameters; None: random ones."""
    if place == "rehearsal":
        return None
    if place != "auto":
        return Path(expanded(place))
    if named := os.environ.get(ENVIRONMENT):
        return Path(expanded(named))
    try:
        folder = default_folder()
    except RuntimeError:  # neither HOME nor an entry of the user
        return None
    return folder if any(path.is_file() for path in Files(folder).checkpoints(affinity=affinity)) else None


def random_of(folder: Path, *, damaged: bool = False) -> dict[str, Any] | None:
    """What a folder's parameters are drawn from; None: they are no random ones.

    Args:
        damaged: a checkpoint that says nothing any more may be there, for it is about to be read or replaced.
    """
    found = rehearsal.declared(folder)
    structure = Files(folder).structure
    if found is not None or not structure.is_file():
        return found
    try:
        return rehearsal.read_mark(structure)
    except WeightsMissingError:
        if damaged:
            return None
        raise


def _see_that_all_are_there(folder: Path, *, affinity: bool) -> None:
    """Raises WeightsMissingError for what a prediction needs and cannot draw."""
    files = Files(folder)
    if rehearsal.declared(folder) is not None:
        return
    missing = [path for path in files.checkpoints(affinity=affinity) if not path.is_file()]
    if not files.molecules.is_dir():
        missing.append(files.molecules)
    if missing:
        names = ", ".join(path.name for path in missing)
        raise WeightsMissingError(f"{files.folder}: lacks {names}. {GET} {folder}")


def codes_in(folder: Path) -> Iterator[str]:
    """Codes of the components in a folder."""
    with os.scandir(folder) as entries:
        yield from (entry.name[:-4] for entry in entries if entry.name.endswith(".pkl"))
