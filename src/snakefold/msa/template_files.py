"""Templates of a chain as the store keeps them, and beside its MSA as a request carries them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from snakefold.kernel import archive
from snakefold.kernel.contracts import MsaMeta
from snakefold.kernel.notes import Code, note


@dataclass(frozen=True)
class Templates:
    """Templates of one chain.

    Attributes:
        npz: what `templates.load` reads, or None if no template was found.
        names: `<pdb id>_<chain>` of the templates, best first.
        commands: shell-quoted command lines that ran.
        seconds: of the search and the reading of structures.
        warnings: hits that could not be used, and why.
    """

    npz: bytes | None
    names: Sequence[str] = ()
    commands: Sequence[str] = ()
    seconds: float = 0.0
    warnings: Sequence[str] = ()


def pack(found: Templates) -> bytes:
    """The entry of the store."""
    facts = {name: value for name, value in asdict(found).items() if name != "npz"}
    files = {"templates.json": (json.dumps(facts, indent=1) + "\n").encode()}
    return archive.pack(files | ({"templates.npz": found.npz} if found.npz else {}))


def unpack(entry: bytes) -> Templates:
    """Templates from the entry of the store."""
    files = archive.unpack(entry)
    return Templates(files.get("templates.npz"), **json.loads(files["templates.json"]))


def join(msa: Mapping[str, bytes], found: Templates) -> dict[str, bytes]:
    """Files of a chain (`contracts.MSA_LAYOUT`): those of its MSA and what belongs to its templates."""
    meta = MsaMeta.model_validate_json(msa["meta.json"])
    meta = meta.model_copy(
        update={
            "templates": len(found.names),
            "commands": [*meta.commands, *found.commands],
            "seconds": meta.seconds | {"templates": round(found.seconds, 3)},
            "warnings": [*meta.warnings, *(note(Code.DROPPED_TEMPLATE, text) for text in found.warnings)],
        }
    )
    files = {**msa, "meta.json": meta.model_dump_json(indent=1).encode() + b"\n"}
    return files | ({"templates.npz": found.npz} if found.npz else {})
