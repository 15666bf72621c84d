"""What a job gave, as files in a folder."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from snakefold.clusters.runpod.parts import Part, fetch, parts_of, safe_name
from snakefold.clusters.runpod.session import ResultError, Session, UnavailableError
from snakefold.clusters.runpod.unpack import MOST_BYTES, is_archive, unpack
from snakefold.kernel.wording import count

RESPONSE = "response.json"
_SHOWN_TEXT = 10_000
#: Compressed, and no archive.
_ONE_FILE = ".a3m.gz"
_ENDINGS = (".tar.gz", ".tgz", ".tar.zst", ".tar")


def save_results(
    session: Session, output: Any, folder: Path, *, unpacked: bool = True, most_bytes: int = MOST_BYTES
) -> list[Path]:
    """Write an output and every file that it names into `folder`.

    Archives are unpacked (`unpacked`), several of them each into a folder of its own, named as it is; other
    files are kept as they are. response.json is the output without the bytes. Equal calls leave equal files.

    Returns:
        The files, response.json first.

    Raises:
        ResultError: a file is missing, is not what size and sha256 say, or is an archive that is refused. The
            other files are written all the same.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(f"{folder}: cannot be made: {error.strerror}.") from error
    response = folder / RESPONSE
    response.write_text(json.dumps(_without_bytes(output), indent=2, ensure_ascii=False) + "\n", "utf-8")
    files, problems = [response], []
    parts = parts_of(output)
    several = sum(part.name.endswith(_ENDINGS) for part in parts) > 1
    for part in parts:
        try:
            files += _save(session, part, folder, unpacked=unpacked, alone=not several, most_bytes=most_bytes)
        except (ResultError, UnavailableError) as error:
            problems.append(str(error))
    if problems:
        raise ResultError(
            f"{count(len(problems), 'file')} of the result not there. " + " ".join(problems[:10])
        )
    return files


def _save(
    session: Session, part: Part, folder: Path, *, unpacked: bool, alone: bool, most_bytes: int
) -> list[Path]:
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as scratch:
        path = Path(scratch) / safe_name(part.name)
        fetch(session, part, path, most_bytes=most_bytes)
        if unpacked and is_archive(path) and not part.name.endswith(_ONE_FILE):
            name = next((part.name.removesuffix(end) for end in _ENDINGS if part.name.endswith(end)), "")
            if alone or not name:
                return unpack(path, folder, most_bytes=most_bytes)
            inside = unpack(path, Path(scratch) / "unpacked", most_bytes=most_bytes)
            return _into_own_folder(inside, Path(scratch) / "unpacked", folder / name)
        place = folder / (path.name if path.name != RESPONSE else f"result-{RESPONSE}")
        path.replace(place)
        return [place]


def _into_own_folder(files: list[Path], above: Path, place: Path) -> list[Path]:
    """Move files below `above` to `place`, unless that is the folder they are in within their archive."""
    names = [path.relative_to(above) for path in files]
    if all(name.parts[0] == place.name and len(name.parts) > 1 for name in names):
        place = place.parent
    moved = [place / name for name in names]
    for path, target in zip(files, moved, strict=True):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        except OSError as error:
            raise ResultError(f"{target}: cannot be written: {error.strerror}.") from error
    return moved


def _without_bytes(value: Any) -> Any:
    """Bytes are in files, and the query of a signed address is a password."""
    if isinstance(value, dict):
        return {
            key: f"({len(inner)} characters)"
            if key == "base64" and isinstance(inner, str)
            else _without_bytes(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_without_bytes(inner) for inner in value]
    if isinstance(value, str):
        if value.startswith(("https://", "http://")):
            return value.partition("?")[0]
        return value if len(value) <= _SHOWN_TEXT else f"({len(value)} characters)"
    return value
