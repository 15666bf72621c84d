"""What a result depends on besides its sequences, and the digest that names it.

A recipe is a JSON-able mapping: tool, version, parameters, fingerprint of databases or weights. Two recipes
with equal content have equal digests, whatever the order of their keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def digest(recipe: Mapping[str, Any]) -> str:
    """Name of a recipe: 16 hexadecimal digits of the sha256 of its canonical JSON."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sequence_key(chains: Sequence[str]) -> str:
    """Key of a target or chain: sha256 of its sequences joined by ':' (ColabFold's separator)."""
    return hashlib.sha256(":".join(chains).encode("ascii")).hexdigest()


def file_fingerprint(path: Path) -> dict[str, Any]:
    """Identity of a large file without reading all of it: size and sha256 of its first and last MiB.

    Databases have hundreds of gigabytes; modification times change when a file is copied. Size plus both
    ends tells releases apart at the cost of two reads.
    """
    size = path.stat().st_size
    block = 1 << 20
    ends = hashlib.sha256()
    with path.open("rb") as stream:
        ends.update(stream.read(block))
        if size > block:
            stream.seek(max(block, size - block))
            ends.update(stream.read(block))
    return {"name": path.name, "size": size, "ends_sha256": ends.hexdigest()}
