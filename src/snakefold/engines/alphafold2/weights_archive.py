"""The official archive of parameters: downloaded, tested, unpacked. Files that are whole are left alone."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import yaml

from snakefold.engines.alphafold2.models import all_models
from snakefold.engines.alphafold2.parameters import parameters_file, parameters_folder, read_rehearsal_mark
from snakefold.engines.alphafold2.weights_whole import problem
from snakefold.kernel.download import Expected, download, lines
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.paths import house
from snakefold.kernel.wording import count

Log = Callable[[str], object]


def fetch(
    destination: Path,
    mirror: str | None = None,
    which: Iterable[str] | None = None,
    log: Log | None = None,
) -> list[Path]:
    """Download official parameters into `destination/params/`. Safe to interrupt and to run again.

    Files that are there are read through. A whole one stays; a damaged one is replaced, by a whole one only.

    Args:
        destination: weights folder. Needs about twice the archive's size while unpacking.
        mirror: address of a copy of the archive (or of a part of it); None takes DeepMind's.
        which: AlphaFold's names of the models to keep; None keeps all 15.
        log: called with a line for every damaged file, and at every twentieth of the download.

    Returns:
        The files of the models wanted.

    Raises:
        DownloadError: see `snakefold.kernel.download.download`.
        WeightsMissingError: the folder has random parameters, or a file that cannot be opened; the archive
            lacks a model, or one of its files is damaged. What was there is still there.
    """
    source = yaml.safe_load((house() / "resources" / "weights.yaml").read_text())["alphafold2"]
    names = list(which) if which is not None else all_models()
    files = {name: parameters_file(destination, name) for name in names}
    _refuse_rehearsal(destination)
    wanted = _not_whole(files, log)
    if not wanted:
        return list(files.values())
    url = mirror or source["url"]
    archive = destination / (url.partition("?")[0].rsplit("/", 1)[-1] or "parameters.tar")
    # A mirror may hold a part of the archive, so only the official address has a size and a checksum.
    expected = Expected() if mirror else Expected(source["bytes"], source["sha256"])
    download(url, archive, expected, lines(url, log) if log is not None else None)
    try:
        unpacked = _unpack(archive, wanted)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise WeightsMissingError(
            f"{archive}: cannot be unpacked ({error}). Remove it and run the command again."
        ) from error
    if missing := [path.name for name, path in wanted.items() if name not in unpacked]:
        raise WeightsMissingError(f"{url}: the archive lacks {', '.join(missing)}. Name another mirror.")
    archive.unlink()
    if log is not None:
        log(f"{count(len(files), 'model')} in {parameters_folder(destination)}")
    return list(files.values())


def _refuse_rehearsal(destination: Path) -> None:
    """Random and official parameters do not share a folder, for a run would take either for the other."""
    drawn = (parameters_folder(destination) / "REHEARSAL.txt").is_file()
    for path in (parameters_file(destination, name) for name in all_models()):
        if path.is_file() and _is_random(path, unreadable=drawn):
            raise WeightsMissingError(
                f"{path}: random parameters (REHEARSAL), which official ones never join or replace. "
                "Name another folder."
            )


def _is_random(path: Path, *, unreadable: bool) -> bool:
    """Whether a file says REHEARSAL; `unreadable` is the answer for one that can say nothing any more."""
    try:
        return read_rehearsal_mark(path) is not None
    except WeightsMissingError:
        return unreadable
    except ValueError:  # the mark itself is damaged
        return True


def _not_whole(files: Mapping[str, Path], log: Log | None) -> dict[str, Path]:
    """Those of the files (by model) that are missing or damaged."""
    there = {name: path for name, path in files.items() if path.is_file()}
    if there and log is not None:
        log(f"{next(iter(there.values())).parent}: reading {count(len(there), 'file')} through")
    found = {}
    for name, path in files.items():
        if name in there:
            _see_that_it_opens(path)
            fault = problem(path, name)
            if not fault:
                continue
            if log is not None:
                log(f"{path}: {fault}. It is fetched again, and replaced when the new one is whole.")
        found[name] = path
    return found


def _see_that_it_opens(path: Path) -> None:
    """What may not be read may be whole: it is not replaced."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise WeightsMissingError(
            f"{path}: cannot be opened ({error.strerror}). Correct its permissions and run the command again."
        ) from error


def _unpack(archive: Path, files: Mapping[str, Path]) -> set[str]:
    """Write the members of these models, each whole and tested or not at all; a member's folder is ignored.

    Returns:
        The models that were in the archive.
    """
    models = {path.name: name for name, path in files.items()}
    done: set[str] = set()
    with tarfile.open(archive) as members:
        for member in members:
            name = models.get(Path(member.name).name)
            content = members.extractfile(member) if name is not None and member.isreg() else None
            if name is None or content is None or name in done:
                continue
            path = files[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.part")
            with part.open("wb") as stream:
                shutil.copyfileobj(content, stream, 1 << 20)
            fault = problem(part, name)
            if not fault and _is_random(part, unreadable=False):
                fault = "these are random parameters (REHEARSAL)"
            if fault:
                part.unlink()
                archive.unlink()
                raise WeightsMissingError(
                    f"{archive}: {path.name}: {fault}. The archive was removed: fetch it again, or name "
                    "another mirror."
                )
            part.replace(path)
            done.add(name)
    return done
