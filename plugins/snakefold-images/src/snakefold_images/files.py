"""Keys as files of folders, for messages that are done on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from snakefold_images.errors import ImageError, ImagesError


class Folders:
    """Keys are paths: below one folder to read, below another to write."""

    def __init__(self, inputs: Path, outputs: Path) -> None:
        self._inputs = inputs
        self._outputs = outputs

    def read(self, key: str) -> bytes:
        path = self._inputs / key
        try:
            return path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path}: cannot be read: {error.strerror}") from error

    def write(self, key: str, data: bytes, _: str, /) -> None:
        path = self._outputs / key
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ImagesError(f"{path}: cannot be written: {error.strerror}") from error
