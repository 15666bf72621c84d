"""What can be fetched: the databases of every preset with their publishers' addresses and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from snakefold.kernel.contracts import Model
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.paths import house
from snakefold.msa.databases.presets import Database, Preset, load_preset

_DOWNLOADS = "resources/downloads.yaml"
_PRESETS = "resources/databases.yaml"


class Source(Model):
    """Where one database comes from: an entry of resources/downloads.yaml, which explains the fields.

    `download` and `index` are gigabytes of 10^9 bytes.
    """

    publisher: str
    licence: str
    release: str
    prepare: Literal["join", "unpack", "createdb", "entries"]
    download: float
    urls: list[str] = Field(min_length=1)
    md5: str | None = None
    keep: str | None = None
    index: float = 0


@dataclass(frozen=True)
class Entry:
    """One database of `preset`, where it goes, and where it comes from (None: it comes with snakefold)."""

    preset: str
    database: Database
    root: Path
    source: Source | None

    @property
    def key(self) -> str:
        """Path below the root: what downloads.yaml and the record of what was fetched name a database by."""
        return self.database.path.relative_to(self.root).as_posix()

    @property
    def staging(self) -> Path:
        """Folder of everything that is not finished. It is there only while the database is not."""
        return self.root / ".snakefold" / self.key.replace("/", "__")

    @property
    def state(self) -> Literal["there", "unfinished", "missing"]:
        """Whether all its files are there, by their names alone (`snakefold db doctor` looks inside)."""
        if self.staging.is_dir():
            return "unfinished"
        return "missing" if self.database.missing else "there"


def presets(listing: Path | None = None) -> dict[str, str]:
    """Description of every preset, by name, in the order of resources/databases.yaml."""
    path = listing or house() / _PRESETS
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: str(each.get("description", "")) for name, each in listed.items()}


def entries(
    name: str, root: Path | None = None, *, listing: Path | None = None, downloads: Path | None = None
) -> tuple[Preset, list[Entry]]:
    """Databases of preset `name` below `root` (that of the preset if not given), in its order.

    Raises:
        ConfigError: no such preset; or one of the two listings is not what it should be.
    """
    preset = load_preset(name, root, listing)
    sources = _sources(downloads or house() / _DOWNLOADS)
    found = []
    for database in preset.databases:
        key = database.path.relative_to(preset.root).as_posix()
        found.append(Entry(name, database, preset.root, sources.get(key)))
    return preset, found


def mirrored(url: str, mirror: str | None) -> str:
    """`url` on a mirror that keeps host and path, as `wget --force-directories` writes them."""
    if mirror is None:
        return url
    parts = urlsplit(url)
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"


def _sources(path: Path) -> dict[str, Source]:
    try:
        return TypeAdapter(dict[str, Source]).validate_python(
            yaml.safe_load(path.read_text(encoding="utf-8"))
        )
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: cannot be read as a list of downloads: {error}") from error
