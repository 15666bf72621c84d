"""Two proteins, and files written for the readers to read."""

from __future__ import annotations

from pathlib import Path

from snakefold.kernel.errors import Refusal
from snakefold.molecules.targets import Target, read_targets

UBQ = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
CRN = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"


def read(path: Path | list[Path], low: int = 10, high: int = 100) -> tuple[list[Target], list[Refusal]]:
    paths = path if isinstance(path, list) else [path]
    return read_targets(paths, min_length=low, max_length=high)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
