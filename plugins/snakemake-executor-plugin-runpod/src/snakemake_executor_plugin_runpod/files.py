"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import JobError


@contextlib.contextmanager
def replacing(outputs: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Temporary files beside the outputs; they take the outputs' names together once the block has ended
    well.

    Raises:
        JobError: the disk does not take them.
    """
    temporary: dict[str, Path] = {}
    try:
        for name, path in outputs.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, found = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".part")
            os.close(handle)
            temporary[name] = Path(found)
            # mkstemp's files are for their owner only; outputs are as the umask has it.
            temporary[name].chmod(0o666 & ~_UMASK)
        yield temporary
        for name, path in outputs.items():
            temporary[name].replace(path)
    except OSError as error:
        raise JobError(
            f"cannot write the job's output here: {error.strerror or error} "
            f"({error.filename or 'while writing'}). "
            "Once there is room, the next try or the next run collects the result; RunPod keeps it for 30 "
            "minutes.",
            "disk",
        ) from error
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    with replacing({"text": path}) as temporary:
        temporary["text"].write_text(text, encoding="utf-8", errors="replace")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Read once, while there is one thread: reading it means setting it.
_UMASK = _umask()
