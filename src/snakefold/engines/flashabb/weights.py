"""Parameters of flash-abb: one file with a known checksum, and how it gets out of flash-abb's wheel.

The wheel (BSD-3) has network and parameters. It is no dependency, for its metadata asks for PyTorch; of it
only the parameters are used. pip downloads it, with the user's settings of pip.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from snakefold.engines.spec import Log
from snakefold.engines.weights_folder import default_folder, fetch_folder, named_folder
from snakefold.kernel.errors import MissingProgramError, SnakefoldError, WeightsMissingError
from snakefold.kernel.store import write_atomically

#: The release of flash-abb whose network and parameters these are.
VERSION = "0.0.5"
COMMAND = "snakefold weights fetch flashabb"
_WHEEL = "97f1c067fa2d9d05c192a4f4678d56daff793dc6221323b847741c04cda7c7e2"
_MEMBER = "flash_abb/weights/flabb_weights.pt"
_LICENCE = f"flash_abb-{VERSION}.dist-info/licenses/LICENCE"
_BYTES = 28_869_531
_SHA256 = "1c266694c15c9890707db418bb8e424bf7de45f562a74142d4942f25c1e39e6a"
_DOWNLOADS = ".download-"


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
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{_DOWNLOADS}*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_DOWNLOADS, dir=path.parent) as place:
        log(f"flash-abb {VERSION}: pip downloads its wheel (79 MB), which has the parameters")
        wheel = _download(Path(place))
        with zipfile.ZipFile(wheel) as members:
            licence, parameters = members.read(_LICENCE), members.read(_MEMBER)
    if fault := _fault(parameters):  # pip has compared the wheel with its checksum
        raise WeightsMissingError(f"{wheel.name}: {_MEMBER}: {fault}.")
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


def _download(place: Path) -> Path:
    """The wheel of flash-abb and nothing that it asks for, in an empty folder."""
    if importlib.util.find_spec("pip") is None:
        raise MissingProgramError(
            f"{sys.executable}: has no pip, which downloads flash-abb. Install pip into this environment "
            f"(python -m ensurepip, or uv pip install pip), then run again: {COMMAND}"
        )
    requirements = place / "requirements.txt"
    requirements.write_text(f"flash-abb=={VERSION} --hash=sha256:{_WHEEL}\n")
    command: Sequence[str] = [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"),
        *("--require-hashes", "--only-binary", ":all:"),
        *("--dest", ".", "--requirement", requirements.name),
    ]
    # In the empty folder, so that no file of the current one is taken for a module of Python's.
    done = subprocess.run(command, cwd=place, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode:
        raise SnakefoldError(
            f"{' '.join(command)}: failed with exit code {done.returncode}; pip says why above. Its own "
            "settings name the package index (pip config list). No file was changed."
        )
    (wheel,) = place.glob("*.whl")
    return wheel
