"""ESMFold's parameters as a run asks for them: which folder is meant, what it lacks, what identifies it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snakefold.engines.esmfold import rehearsal
from snakefold.engines.esmfold.folder import GET, Files, configuration, problem
from snakefold.engines.spec import Log, Parameters
from snakefold.engines.weights_folder import meant_folder
from snakefold.kernel.errors import SnakefoldError, WeightsMissingError
from snakefold.kernel.recipes import digest, file_fingerprint


def find(
    place: str, *, draw: bool, blocks: int, whole: bool = True, cache: Path | None = None
) -> Parameters | None:
    """The parameters that the setting `weights` means.

    Args:
        place: as in the settings.
        draw: declare random ones where they are meant; otherwise None is returned for them.
        blocks: of the trunk whose random parameters are drawn.
        whole: see that files are what their names say; who loads them at once sees it.
        cache: random ones are kept in a folder of this one.

    Raises:
        WeightsMissingError: the folder that is meant lacks a file, or has one that is none of ESMFold's.
    """

    def some(folder: Path) -> bool:
        return Files(folder).folder.is_dir()

    meant = meant_folder(place, some)
    if meant is not None:
        folder, source = meant
        see_that_all_are_there(folder, f" (from {source})")
        if whole:
            identity(folder)
        random = random_of(folder)
        if random is not None:
            return Parameters(folder, rehearsal=True, blocks=random["blocks"])
        return Parameters(folder)
    if not draw:
        return None
    made = (cache or Path(".snakefold")) / f"rehearsal-esmfold-{digest(rehearsal.mark(blocks))[:8]}"
    rehearsal.declare(made, blocks)
    return Parameters(made, rehearsal=True, blocks=blocks)


def ready(weights: Path | None) -> Files:
    """The files, all there: random ones are drawn. Runs in the engine's environment.

    Raises:
        WeightsMissingError: a file is missing; or as `rehearsal.draw`.
    """
    folder = given(weights)
    if rehearsal.declared(folder) is not None:
        rehearsal.draw(folder)
    see_that_all_are_there(folder)
    return Files(folder)


def identity(weights: Path | None) -> dict[str, Any]:
    """What identifies the parameters in a recipe: size and both ends of each file.

    Random ones are named by what they are drawn from, whether they are drawn yet or not, so that every
    machine that draws them agrees.

    Raises:
        WeightsMissingError: a file is missing or damaged, or random and official ones are mixed.
    """
    folder = given(weights)
    files = Files(folder)
    random = random_of(folder)
    path = files.parameters
    if path is not None and rehearsal.read_mark(path) != random:
        raise WeightsMissingError(
            f"{files.folder}: mixes random and other parameters. Keep them in separate folders."
        )
    if random is not None:
        return {"rehearsal": True, **random}
    see_that_all_are_there(folder)
    configuration(files.config)
    assert path is not None  # noqa: S101  (seen above)
    if fault := problem(path):
        raise WeightsMissingError(f"{path}: damaged: {fault}. {GET}")
    return {each.name: file_fingerprint(each) for each in (files.config, path)}


def random_of(folder: Path) -> dict[str, Any] | None:
    """What a folder's parameters are drawn from; None: they are no random ones."""
    path = Files(folder).parameters
    found = rehearsal.declared(folder)
    return found if found is not None or path is None else rehearsal.read_mark(path)


def see_that_all_are_there(folder: Path, named: str = "") -> None:
    """Raises WeightsMissingError for what a prediction needs and cannot draw."""
    files = Files(folder)
    missing = files.missing()
    if missing and rehearsal.declared(folder) is None:
        raise WeightsMissingError(f"{files.folder}{named}: lacks {', '.join(missing)}. {GET}")


def given(folder: Path | None) -> Path:
    """The weights folder. Raises WeightsMissingError where there is none."""
    if folder is None:
        raise WeightsMissingError(f"ESMFold needs parameters. {GET}")
    return folder


def fetch(folder: Path, mirror: str | None, log: Log) -> None:
    """There is nothing that could be compared with what is downloaded: the user does it.

    Raises:
        SnakefoldError: always; the text says where the files are, and what to do with them.
    """
    del mirror, log
    where = GET.replace("WEIGHTS", str(folder))
    raise SnakefoldError(f"snakefold knows no checksums of ESMFold's files, so they are not fetched. {where}")


def check(folder: Path, log: Log) -> bool:
    """Read the files through; a line for each."""
    files = Files(folder)
    try:
        random = random_of(folder)
        missing = files.missing()
    except WeightsMissingError as error:
        log(f"damaged   {error}")
        return False
    if random is not None:
        drawn = "drawn by the first prediction" if missing else "drawn"
        log(f"rehearsal {files.folder}: random parameters, {drawn}")
    elif missing:
        log(f"missing   {files.folder}: lacks {', '.join(missing)}. {GET}")
        return False
    usable = True
    if files.config.is_file():
        try:
            layers = configuration(files.config).get("num_hidden_layers")
            log(f"whole     {files.config.name} language model of {layers} layers")
        except WeightsMissingError as error:
            log(f"damaged   {error}")
            usable = False
    if (path := files.parameters) is not None:
        fault = problem(path, every_byte=True)
        log(f"damaged   {path.name} {path}: {fault}. {GET}" if fault else f"whole     {path.name}")
        usable = usable and not fault
    return usable
