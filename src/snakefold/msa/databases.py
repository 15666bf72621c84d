"""Database presets: which files a search reads, in what order, with what limits, and how a user gets them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from snakefold.errors import ConfigError, DatabaseMissingError
from snakefold.recipes import file_fingerprint

Tool = Literal["jackhmmer", "hhblits", "mmseqs", "hhsearch", "hmmsearch"]
_TOOLS = frozenset({"jackhmmer", "hhblits", "mmseqs", "hhsearch", "hmmsearch"})
_FIELDS = frozenset(
    {"name", "tools", "format", "path", "files", "limit", "pairing", "optional", "gigabytes", "get"}
)


@dataclass(frozen=True)
class Database:
    """One database of a preset.

    Attributes:
        name: AlphaFold's name: uniref90, mgnify, small_bfd, bfd, uniref30, uniprot, pdb70, pdb_seqres, pdb_mmcif …
        tools: programs that read it.
        format: `fasta` (plain, .gz or .zst), `mmseqs` (prefix; expandable if `<path>_aln` is there),
            `hhsuite` (prefix), `mmcif` (folder of mmCIF files) or `text`.
        path: file, folder, or the prefix that the program takes.
        files: what must exist; several files for a prefix.
        limit: rows kept of its alignment, query included as AlphaFold counts; None keeps all.
        pairing: rows are for pairing chains of a complex, not for the chain's own MSA.
        optional: a search goes on without it.
        gigabytes: unpacked size, rounded.
        get: what a user does to get it.
    """

    name: str
    tools: frozenset[str]
    format: Literal["fasta", "mmseqs", "hhsuite", "mmcif", "text"]
    path: Path
    files: tuple[Path, ...]
    limit: int | None
    pairing: bool
    optional: bool
    gigabytes: float
    get: str

    @property
    def missing(self) -> list[Path]:
        """Files that are not there."""
        return [file for file in self.files if not file.exists()]


@dataclass(frozen=True)
class Preset:
    """Databases in AlphaFold's order of merging: uniref90, bfd or small_bfd (with uniref30), mgnify."""

    name: str
    root: Path
    databases: tuple[Database, ...]

    def select(self, tool: Tool, *, pairing: bool = False) -> list[Database]:
        """Databases that `tool` reads, in order; those for pairing only if `pairing`. Optional ones only if there."""
        return [
            database
            for database in self.databases
            if tool in database.tools
            and (pairing or not database.pairing)
            and not (database.optional and database.missing)
        ]

    def find(self, name: str) -> Database | None:
        """The database called `name`, if the preset has it."""
        return next((database for database in self.databases if database.name == name), None)
