"""Boltz-2's parameters as they are published: whether a folder has them whole, and how to get them.

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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from snakefold.engines.boltz2 import components
from snakefold.engines.boltz2.folder import Files
from snakefold.engines.boltz2.weights import GET, codes_in, random_of
from snakefold.engines.spec import Log, Weights
from snakefold.kernel.download import Expected, download, lines
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.store import write_atomically
from snakefold.kernel.wording import count

REVISION = "6fdef46d763fee7fbb83ca5501ccceff43b85607"
ADDRESS = f"https://huggingface.co/boltz-community/boltz-2/resolve/{REVISION}"
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
    if random_of(folder, damaged=True) is not None:
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
        random = random_of(folder, damaged=True)
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
        log(f"{path}: {fault}. {GET} {folder}" if fault else f"{path}: complete (Boltz-2, {REVISION[:8]})")
    usable = not faults[files.structure] and not faults[files.molecules]
    if usable and not files.affinity.exists():
        log("Structures can be predicted; affinities cannot.")
        return True
    return usable and not faults[files.affinity]


WEIGHTS = Weights(fetch=fetch, check=check)


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
        there = sum(1 for _ in codes_in(files.molecules))
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
    download(url, path, Expected(published.bytes, published.sha256), lines(url, log), log=log)
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
