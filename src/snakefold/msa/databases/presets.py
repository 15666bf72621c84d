"""Database presets: which files a search reads, in what order, with what limits, and how a user gets them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from snakefold.kernel.contracts import Model
from snakefold.kernel.errors import ConfigError, DatabaseMissingError
from snakefold.kernel.paths import house, packaged
from snakefold.kernel.recipes import file_fingerprint
from snakefold.msa.databases import padded
from snakefold.msa.settings import MsaSettings

Tool = Literal["jackhmmer", "hhblits", "mmseqs", "hhsearch", "hmmsearch"]
Format = Literal["fasta", "mmseqs", "hhsuite", "mmcif", "text"]
#: What is searched for a chain, and `pairs`, rows of a complex that an MSA server pairs; each is a kind of
#: the store.
Part = Literal["msa", "templates", "pairs"]


@dataclass(frozen=True)
class Database:
    """One database of a preset.

    Attributes:
        name: AlphaFold's: uniref90, mgnify, small_bfd, bfd, uniref30, uniprot, pdb70, pdb_seqres, pdb_mmcif …
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
    format: Format
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
        """Databases that `tool` reads, in order: those for pairing if `pairing`, optional ones if there."""
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


class _Entry(Model):
    """One database as resources/databases.yaml writes it."""

    name: str
    tools: list[Tool] = Field(min_length=1)
    format: Format
    path: str
    files: tuple[str, ...] = ()
    limit: int | None = Field(None, ge=1)
    pairing: bool = False
    optional: bool = False
    gigabytes: float
    get: str | None = None


class _Listed(Model):
    """One preset as resources/databases.yaml writes it. `get` is for databases without one of their own."""

    description: str
    root: str
    get: str
    databases: list[_Entry] = Field(min_length=1)


def load_preset(name: str, root: str | Path | None = None, listing: Path | None = None) -> Preset:
    """Read one preset.

    Args:
        name: entry of `listing`.
        root: folder of the preset's files, in place of the one the preset names.
        listing: a file like resources/databases.yaml, which is the default.

    Raises:
        ConfigError: no such preset, or the file is not what it should be.
    """
    listing = listing or house() / "resources" / "databases.yaml"
    try:
        listed = yaml.safe_load(listing.read_text(encoding="utf-8"))
        presets = {key: _Listed.model_validate(value) for key, value in listed.items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, ValidationError) as error:
        raise ConfigError(f"{listing}: cannot be read as a list of database presets: {error}") from error
    if name not in presets:
        raise ConfigError(f"db_preset {name!r} is not in {listing}. It has: {', '.join(sorted(presets))}.")
    chosen = presets[name]
    folder = Path(root) if root else packaged(chosen.root)
    here = f"{name} --root {shlex.quote(str(root))}" if root else name
    databases = (_database(entry, folder, chosen.get, here) for entry in chosen.databases)
    return Preset(name, folder, tuple(databases))


#: Programs behind `msa.tool`, the one that must have a database last. AlphaFold's full_dbs searches BFD and
#: UniRef30 with hhblits, and the databases in FASTA with jackhmmer.
TOOLS: dict[str, tuple[Tool, ...]] = {
    "jackhmmer": ("jackhmmer",),
    "hhblits": ("jackhmmer", "hhblits"),
    "mmseqs": ("mmseqs",),
    "server": (),
    "precomputed": (),
    "single_sequence": (),
}


def only(settings: MsaSettings, *parts: Part) -> MsaSettings:
    """The settings of a search of these parts, and of no others."""
    none: dict[Part, tuple[str, str]] = {"msa": ("tool", "precomputed"), "templates": ("templates", "none")}
    left_out = [part for part in none if part not in parts]
    if settings.asks_server:  # for templates too
        left_out = [part for part in left_out if part != "msa"]
    return settings.model_copy(update=dict(none[part] for part in left_out))


def _template_tools(settings: MsaSettings) -> tuple[Tool, ...]:
    """Programs that search templates in local databases."""
    return () if settings.templates == "none" or settings.asks_server else (settings.templates,)


def used(preset: Preset, settings: MsaSettings, *, pairing: bool = True) -> list[Database]:
    """Every database that an MSA step with these settings reads, as it reads it, in the preset's order."""
    tools = {*TOOLS[settings.tool], *_template_tools(settings)}
    searched = (
        as_searched(database, preset, settings)
        for database in preset.databases
        if tools & database.tools and (pairing or not database.pairing)
    )
    # An optional database that lacks no more than its padded copy is there: leaving it out would find less.
    return [
        database
        for database in searched
        if not (database.optional and database.missing) or _needs_padding(database)
    ]


def as_searched(database: Database, preset: Preset, settings: MsaSettings) -> Database:
    """The database as a search with these settings reads it: on a GPU padded, itself or its copy."""
    path = database.path
    if not (settings.on_gpu and "mmseqs" in database.tools) or padded.is_padded(path):
        return database
    copy = padded.copy_of(path)
    if database.missing and not padded.is_padded(copy):
        return database
    expandable = padded.beside(path, "_aln.dbtype").is_file() or padded.beside(copy, "_aln.dbtype").exists()
    ends = (".dbtype", ".index", *(("_seq.dbtype", "_aln.index") if expandable else ()))
    root = shlex.quote(str(preset.root))
    return replace(
        database,
        path=copy,
        format="mmseqs",
        files=tuple(padded.beside(copy, end) for end in ends),
        get=f"{_PAD} {preset.name} --root {root} --only {database.name}",
    )


_PAD = "a GPU searches a padded copy (msa.mmseqs.gpu). Make it: snakefold db pad"


def _needs_padding(database: Database) -> bool:
    return database.get.startswith(_PAD)


def check(preset: Preset, settings: MsaSettings, *, pairing: bool = True) -> None:
    """See that all files are there, before any search starts.

    Raises:
        ConfigError: the preset has no database for the chosen tool.
        DatabaseMissingError: lists every missing file, its size and how to get it.
    """
    wanted = [*TOOLS[settings.tool][-1:], *_template_tools(settings)]
    for tool in wanted:
        if not any(tool in database.tools for database in preset.databases):
            have = sorted({each for database in preset.databases for each in database.tools})
            raise ConfigError(
                f"db_preset {preset.name!r} has no database for {tool}; it has some for {', '.join(have)}. "
                "Choose another db_preset or tool."
            )
    lines = [
        f"  {file} ({database.name}, {database.gigabytes:g} GB): {database.get}"
        for database in used(preset, settings, pairing=pairing)
        for file in database.missing
    ]
    lines += [
        f"  {database.path} ({database.name}) was made of other files than are there now: {database.get}"
        for database in used(preset, settings, pairing=pairing)
        if _needs_padding(database) and not database.missing and padded.is_stale(_source(database))
    ]
    if lines:
        raise DatabaseMissingError(
            f"msa.db_preset {preset.name!r} in {preset.root}: files or folders are missing ({len(lines)}):\n"
            + "\n".join(lines)
            + "\nSet `msa.db_root` if they are elsewhere, or choose another `msa.db_preset`."
        )


def _source(database: Database) -> Path:
    return database.path.with_name(database.path.name.removesuffix(padded.SUFFIX))


def fingerprint(preset: Preset, settings: MsaSettings, *, pairing: bool = True) -> list[dict[str, Any]]:
    """Identity of every database that is read, and its limit, for recipes. A folder counts by its names."""
    return [
        {
            "name": database.name,
            "limit": database.limit,
            "pairing": database.pairing,
            "files": [_identity(file) for file in database.files],
        }
        for database in used(preset, settings, pairing=pairing)
    ]


def files_read(preset: Preset, settings: MsaSettings, *, pairing: bool = True) -> dict[str, Path]:
    """The files and folders that `fingerprint` looks at, by the names that it has for them."""
    return {
        file.name: file for database in used(preset, settings, pairing=pairing) for file in database.files
    }


def _identity(file: Path) -> dict[str, Any]:
    if file.is_dir():
        return {"name": file.name, "entries": sum(1 for _ in file.iterdir())}
    return file_fingerprint(file)


def _database(entry: _Entry, root: Path, get: str, preset: str) -> Database:
    return Database(
        name=entry.name,
        tools=frozenset(entry.tools),
        format=entry.format,
        path=root / entry.path,
        files=tuple(root / file for file in entry.files or (entry.path,)),
        limit=entry.limit,
        pairing=entry.pairing,
        optional=entry.optional,
        gigabytes=entry.gigabytes,
        # A command that can be pasted.
        get=(entry.get or get).replace("<preset>", preset),
    )
