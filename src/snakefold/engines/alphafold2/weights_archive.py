"""The official archive of parameters: downloaded, tested, unpacked. Files that are whole are left alone."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from snakefold.engines.alphafold2.models import all_models, every_model, models_of
from snakefold.engines.alphafold2.parameters import parameters_file, parameters_folder, read_rehearsal_mark
from snakefold.engines.alphafold2.settings import ModelPreset
from snakefold.engines.alphafold2.weights_whole import problem
from snakefold.kernel.download import Expected, download, lines
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.paths import house
from snakefold.kernel.wording import count

Log = Callable[[str], object]


def _silent(_: str) -> None:
    """Whoever gives no log wants to hear nothing."""


def fetch(
    destination: Path,
    mirror: str | None = None,
    which: Iterable[str] | None = None,
    log: Log = _silent,
    archive: str = "alphafold2",
) -> list[Path]:
    """Download official parameters into `destination/params/`. Safe to interrupt and to run again.

    Files that are there are read through. A whole one stays; a damaged one is replaced, by a whole one only.

    Args:
        destination: weights folder. Needs about twice the archive's size while unpacking.
        mirror: address of a copy of the archive (or of a part of it); None takes DeepMind's.
        which: AlphaFold's names of the models to keep; None keeps all 15.
        log: called with a line for every damaged file, and at every twentieth of the download.
        archive: its entry in resources/weights.yaml.

    Returns:
        The files of the models wanted.

    Raises:
        DownloadError: see `snakefold.kernel.download.download`.
        WeightsMissingError: the folder has random parameters, or a file that cannot be opened; the archive
            lacks a model, or one of its files is damaged. What was there is still there.
    """
    source = _source(archive)
    names = list(which) if which is not None else all_models()
    files = {name: parameters_file(destination, name) for name in names}
    _refuse_rehearsal(destination)
    wanted = _not_whole(files, log)
    if not wanted:
        return list(files.values())
    url = mirror or source["url"]
    path = destination / (url.partition("?")[0].rsplit("/", 1)[-1] or "parameters.tar")
    # A mirror may hold a part of the archive, so only the official address has a size and a checksum.
    expected = Expected() if mirror else Expected(source["bytes"], source["sha256"])
    download(url, path, expected, lines(url, log), log=log)
    try:
        unpacked = _unpack(path, wanted)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise WeightsMissingError(
            f"{path}: cannot be unpacked ({error}). Remove it and run the command again."
        ) from error
    if missing := [file.name for name, file in wanted.items() if name not in unpacked]:
        raise WeightsMissingError(f"{url}: the archive lacks {', '.join(missing)}. Name another mirror.")
    path.unlink()
    log(f"{count(len(files), 'model')} in {parameters_folder(destination)}")
    return list(files.values())


def fetch_preset(destination: Path, preset: ModelPreset, mirror: str | None, log: Log) -> list[Path]:
    """Download the five models of parameters that are no part of the official archive; as `fetch`.

    Args:
        preset: multimer_v1, multimer_v2 or deepfold.
        mirror: address of a copy of the archive; of DeepFold's files, of the folder that has them.
    """
    if preset is not ModelPreset.DEEPFOLD:
        return fetch(destination, mirror, models_of(preset), log, f"alphafold2_{preset}")
    files = {name: parameters_file(destination, name) for name in models_of(preset)}
    _refuse_rehearsal(destination)
    address = (mirror or str(_source("alphafold2_deepfold")["url"])).rstrip("/")
    for name, path in _not_whole(files, log).items():
        url, part = f"{address}/{path.name}", path.with_name(f".{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        download(url, part, Expected(), lines(url, log), log=log)
        if fault := problem(part, name) or _said_random(part):
            part.unlink()
            raise WeightsMissingError(
                f"{url}: {fault}. The file was removed: fetch it again, or name another mirror."
            )
        part.replace(path)
    log(f"{count(len(files), 'model')} in {parameters_folder(destination)}")
    return list(files.values())


def _source(entry: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((house() / "resources" / "weights.yaml").read_text())[entry]
    return found


def _said_random(path: Path) -> str:
    return "these are random parameters (REHEARSAL)" if _is_random(path, unreadable=False) else ""


def _refuse_rehearsal(destination: Path) -> None:
    """Random and official parameters do not share a folder, for a run would take either for the other."""
    drawn = (parameters_folder(destination) / "REHEARSAL.txt").is_file()
    for path in (parameters_file(destination, name) for name in every_model()):
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


def _not_whole(files: Mapping[str, Path], log: Log) -> dict[str, Path]:
    """Those of the files (by model) that are missing or damaged."""
    there = {name: path for name, path in files.items() if path.is_file()}
    if there:
        log(f"{next(iter(there.values())).parent}: reading {count(len(there), 'file')} through")
    found = {}
    for name, path in files.items():
        if name in there:
            _see_that_it_opens(path)
            fault = problem(path, name)
            if not fault:
                continue
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
            if fault := problem(part, name) or _said_random(part):
                part.unlink()
                archive.unlink()
                raise WeightsMissingError(
                    f"{archive}: {path.name}: {fault}. The archive was removed: fetch it again, or name "
                    "another mirror."
                )
            part.replace(path)
            done.add(name)
    return done
