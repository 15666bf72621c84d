"""The official archive of parameters: downloaded, tested, unpacked."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import yaml

from snakefold.engines.alphafold2.models import all_models
from snakefold.engines.alphafold2.parameters import parameters_folder
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

    Args:
        destination: weights folder. Needs about twice the archive's size while unpacking.
        mirror: address of a copy of the archive (or of a part of it); None takes DeepMind's.
        which: AlphaFold's names of the models to keep; None keeps all 15.
        log: called with a line at every twentieth of the download.

    Returns:
        The files of the models wanted.

    Raises:
        DownloadError: see `snakefold.kernel.download.download`.
        WeightsMissingError: the archive lacks a model, or one of its files is damaged.
    """
    source = yaml.safe_load((house() / "resources" / "weights.yaml").read_text())["alphafold2"]
    names = list(which) if which is not None else all_models()
    files = {f"params_{name}.npz": parameters_folder(destination) / f"params_{name}.npz" for name in names}
    if all(path.is_file() for path in files.values()):
        return list(files.values())
    url = mirror or source["url"]
    archive = destination / (url.partition("?")[0].rsplit("/", 1)[-1] or "parameters.tar")
    # A mirror may hold a part of the archive, so only the official address has a size and a checksum.
    expected = Expected() if mirror else Expected(source["bytes"], source["sha256"])
    download(url, archive, expected, lines(url, log) if log is not None else None)
    try:
        _unpack(archive, files)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise WeightsMissingError(
            f"{archive}: cannot be unpacked ({error}). Remove it and run the command again."
        ) from error
    if missing := [name for name, path in files.items() if not path.is_file()]:
        raise WeightsMissingError(f"{url}: the archive lacks {', '.join(missing)}. Name another mirror.")
    archive.unlink()
    if log is not None:
        log(f"{count(len(files), 'model')} in {parameters_folder(destination)}")
    return list(files.values())


def zip_problem(path: Path) -> str:
    """What is wrong with an npz as a zip file: every array read and compared with its checksum; or
    nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        return str(error)
    return f"{bad} does not match its checksum" if bad else ""


def _unpack(archive: Path, files: Mapping[str, Path]) -> None:
    """Write the members wanted, each whole and tested or not at all; a member's folder is ignored."""
    with tarfile.open(archive) as members:
        for member in members:
            path = files.get(Path(member.name).name)
            content = members.extractfile(member) if path is not None and member.isreg() else None
            if path is None or content is None or path.is_file():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.part")
            with part.open("wb") as stream:
                shutil.copyfileobj(content, stream, 1 << 20)
            if problem := zip_problem(part):
                part.unlink()
                archive.unlink()
                raise WeightsMissingError(
                    f"{archive}: {path.name} is damaged ({problem}). The archive was removed: "
                    "fetch it again, or name another mirror."
                )
            part.replace(path)
