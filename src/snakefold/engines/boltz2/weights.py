"""Boltz-2's parameters: what is published, whether a folder has it, and how to get it.

Boltz-2's authors publish three files on their page at Hugging Face: two checkpoints, and an archive of the
components of the Chemical Component Dictionary. Their program takes whatever the page's main branch has.
Here revision and checksums are fixed, for a component is a pickle, which runs what it holds when it is read:
the checksums hold for mirrors too. They are those that Hugging Face states of the files at this revision.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from snakefold.engines.boltz2 import components, rehearsal
from snakefold.engines.boltz2.folder import Files
from snakefold.engines.spec import Log, Parameters, Weights
from snakefold.engines.weights_folder import ENVIRONMENT, default_folder
from snakefold.kernel.download import Expected, download, lines
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.paths import expanded
from snakefold.kernel.recipes import digest, file_fingerprint
from snakefold.kernel.store import write_atomically
from snakefold.kernel.wording import count

COMMAND = "snakefold weights fetch boltz2"
REVISION = "6fdef46d763fee7fbb83ca5501ccceff43b85607"
ADDRESS = f"https://huggingface.co/boltz-community/boltz-2/resolve/{REVISION}"
_GET = f"Fetch the official ones with: {COMMAND}"
_DOWNLOADS = ".download"


@dataclass(frozen=True)
class Published:
    """A file of the publisher's. Without a `sha256` that of the first download is recorded, and holds."""

    name: str
    bytes: int
    sha256: str | None


STRUCTURE = Published(
    "boltz2_conf.ckpt",
    2_286_561_469,
    "090e82ac8c92f5e943fa1b39e7410a44027bea7243c0bbb3caa67a77fc1428e1",
)
AFFINITY = Published(
    "boltz2_aff.ckpt",
    2_062_139_170,
    "dcc5cd3722b1c9eaa34267e4ae32f55cbbf1963f4c19319381ccfa30fdd2ca9e",
)
COMPONENTS = Published(
    "mols.tar",
    1_855_662_080,
    "39e076d96dbec6b4e86982bbda16f3a53a2a60c9bdc17828d88f6f9a0c7d1fd7",
)
#: Components in the archive.
CODES = 45_227


# ---- what a run asks -------------------------------------------------------------------------------------
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
        random = _random(folder) is not None
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
    random = _random(folder)
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
    names = sorted(_codes(folder))
    content = hashlib.sha256("\n".join(names).encode())
    for code in components.ALWAYS:
        try:
            content.update((folder / f"{code}.pkl").read_bytes())
        except OSError as error:
            raise WeightsMissingError(
                f"{folder}: lacks {code}.pkl, which every prediction needs. {_GET}"
            ) from error
    return {"name": folder.name, "files": len(names), "sha256": content.hexdigest()}


# ---- snakefold weights -----------------------------------------------------------------------------------
def fetch(folder: Path, mirror: str | None, log: Log) -> None:
    """Download what is missing or damaged. Safe to interrupt and to run again: files are whole or absent.

    Args:
        folder: weights folder; needs 2 GB more than the 6 GB that stay, while the archive is unpacked.
        mirror: address of a folder with copies of the three files; None takes the publisher's.
        log: called with a line for every file, and at every twentieth of a download.

    Raises:
        DownloadError: see `snakefold.kernel.download.download`.
        WeightsMissingError: the folder has random parameters; a file cannot be read; the archive is none.
    """
    files = Files(folder)
    if _random(folder, damaged=True) is not None:
        raise WeightsMissingError(
            f"{files.folder}: random parameters (REHEARSAL), which official ones never join or replace. "
            "Name another folder."
        )
    address = (mirror or ADDRESS).rstrip("/")
    for path, published in ((files.structure, STRUCTURE), (files.affinity, AFFINITY)):
        fault = _fault(path, published)
        if not fault:
            log(f"{path}: complete, not fetched again")
            continue
        if path.exists():
            log(f"{path}: {fault}. It is fetched again, and replaced when the new one is whole.")
        _download(address, published, files, log).replace(path)
    fault = _components_fault(files)
    if not fault:
        log(f"{files.molecules}: complete, not fetched again")
    else:
        if files.molecules.exists():
            log(f"{files.molecules}: {fault}. They are fetched again, and replaced when all are there.")
        archive = _download(address, COMPONENTS, files, log)
        log(f"{files.molecules}: {count(_unpack(archive, files), 'component')}")
        archive.unlink()
    shutil.rmtree(files.folder / _DOWNLOADS, ignore_errors=True)


def check(folder: Path, log: Log) -> bool:
    """Read all files through, log a line for each, and say whether a prediction can use them.

    Affinities need a network of their own: without it structures can be predicted still.
    """
    files = Files(folder)
    try:
        random = _random(folder, damaged=True)
    except WeightsMissingError as error:
        log(str(error))
        return False
    if random is not None:
        log(f"{files.folder}: random parameters (REHEARSAL), of a network a hundredth of Boltz-2's size")
        return True
    faults = {
        files.structure: _fault(files.structure, STRUCTURE),
        files.affinity: _fault(files.affinity, AFFINITY),
        files.molecules: _components_fault(files),
    }
    for path, fault in faults.items():
        log(f"{path}: {fault}. {_GET} {folder}" if fault else f"{path}: complete (Boltz-2, {REVISION[:8]})")
    usable = not faults[files.structure] and not faults[files.molecules]
    if usable and not files.affinity.exists():
        log("Structures can be predicted; affinities cannot.")
        return True
    return usable and not faults[files.affinity]


WEIGHTS = Weights(fetch=fetch, check=check)


# ---- where files are -------------------------------------------------------------------------------------
def _given(folder: Path | None) -> Path:
    if folder is None:
        raise WeightsMissingError(f"Boltz-2 needs parameters. {_GET}")
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


def _random(folder: Path, *, damaged: bool = False) -> dict[str, Any] | None:
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
        raise WeightsMissingError(f"{files.folder}: lacks {names}. {_GET} {folder}")


def _codes(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.name[:-4] for entry in entries if entry.name.endswith(".pkl"))


# ---- whether they are whole ------------------------------------------------------------------------------
def _fault(path: Path, published: Published) -> str:
    """What is wrong with a file, every byte of it read; empty if nothing is."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "it is not there"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    if size != published.bytes:
        return f"it has {size} bytes, expected {published.bytes}"
    expected = published.sha256 or _recorded(path)
    if expected is None:
        return ""
    found = _sha256(path)
    return "" if found == expected else f"it is damaged (SHA-256 {found}, expected {expected})"


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsMissingError(
            f"{path}: cannot be read ({error.strerror}). Correct its permissions and run the command again."
        ) from error


def _record(path: Path) -> Path:
    """Where the checksum of a first download is kept, as `sha256sum --check` reads it."""
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str | None:
    try:
        return _record(path).read_text("ascii").split()[0]
    except (OSError, ValueError, IndexError):
        return None


def _components_fault(files: Files) -> str:
    """What is wrong with the components: names and sizes are compared with what was unpacked.

    Of a copy that another program unpacked, the number is known.
    """
    if not files.molecules.is_dir():
        return "it is not there"
    missing = [code for code in components.ALWAYS if not (files.molecules / f"{code}.pkl").is_file()]
    if missing:
        return f"it lacks {', '.join(missing[:5])}"
    try:
        expected = json.loads(_unpacked(files).read_bytes())
    except FileNotFoundError:
        there = sum(1 for _ in _codes(files.molecules))
        return "" if there == CODES else f"it has {there} components, expected {CODES}"
    except (OSError, ValueError) as error:
        return f"{_unpacked(files).name} cannot be read ({error})"
    found = _listing(files.molecules)
    return "" if found == expected else f"it has other files than were unpacked ({found['files']} of them)"


def _unpacked(files: Files) -> Path:
    return files.folder / "mols.json"


def _listing(folder: Path) -> dict[str, Any]:
    """Number of components, and the sha256 of their names and sizes."""
    with os.scandir(folder) as entries:
        sizes = sorted(
            f"{entry.name} {entry.stat().st_size}" for entry in entries if entry.name.endswith(".pkl")
        )
    return {"files": len(sizes), "sha256": hashlib.sha256("\n".join(sizes).encode()).hexdigest()}


# ---- how they get there ----------------------------------------------------------------------------------
def _download(address: str, published: Published, files: Files, log: Log) -> Path:
    """A file of the publisher's, whole, under a name of its own; what broke off is continued."""
    url = f"{address}/{published.name}"
    path = files.folder / _DOWNLOADS / published.name
    download(url, path, Expected(published.bytes, published.sha256), lines(url, log))
    if published.sha256 is None:
        found = _sha256(path)
        record = _record(files.folder / published.name)
        write_atomically(record, f"{found}  {published.name}\n".encode())
        log(f"{url}: the publisher states no checksum. SHA-256 {found} is recorded in {record}")
    else:
        log(f"{url}: {published.bytes / 1e9:.2f} GB, SHA-256 as published")
    return path


def _unpack(archive: Path, files: Files) -> int:
    """Components out of the archive into the weights folder: all or none. Returns how many.

    Members are named `mols/<code>.pkl`. Anything else is left out: no member can leave the folder.
    """
    part = files.folder / _DOWNLOADS / "mols"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with tarfile.open(archive) as members:
            for member in members:
                name = _component(member)
                content = members.extractfile(member) if name else None
                if name and content is not None:
                    with (part / name).open("xb") as stream:
                        shutil.copyfileobj(content, stream, 1 << 20)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise WeightsMissingError(
            f"{archive}: cannot be unpacked ({error}). Remove it and run the command again."
        ) from error
    found = _listing(part)
    lacking = [code for code in components.ALWAYS if not (part / f"{code}.pkl").is_file()]
    if lacking:
        raise WeightsMissingError(
            f"{archive}: the archive lacks {', '.join(lacking[:5])}. Remove it, and name another mirror."
        )
    _unpacked(files).unlink(missing_ok=True)
    shutil.rmtree(files.molecules, ignore_errors=True)
    part.replace(files.molecules)
    write_atomically(_unpacked(files), json.dumps(found).encode())
    return int(found["files"])


def _component(member: tarfile.TarInfo) -> str | None:
    """The file name of a component; None: the member is none."""
    parts = PurePosixPath(member.name).parts
    fits = len(parts) == 2 and parts[0] == "mols" and parts[1].endswith(".pkl") and parts[1][0] != "."
    return parts[1] if fits and member.isreg() else None
