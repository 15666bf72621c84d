"""Searches whose answer is known: a sequence of a database must be found in it.

A user's database has hundreds of gigabytes, so a bounded part of it is searched: its beginning, by the same
functions that a run calls. All of the demo's database is searched, for a protein whose homologs are known.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from snakefold.kernel.contracts import Model
from snakefold.kernel.errors import ConfigError, SnakefoldError, TargetError
from snakefold.kernel.paths import house
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.wording import count
from snakefold.msa import hhblits, jackhmmer, mmseqs, programs
from snakefold.msa.bundle import Hit
from snakefold.msa.databases import padded
from snakefold.msa.databases.parts import Log, Part, take
from snakefold.msa.databases.presets import Database, Preset, Tool, load_preset
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings

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


#: Human ubiquitin (P0CG48, residues 1-76), and a homolog in the demo's Swiss-Prot that is no copy of it:
#: NEDD8 (Q15843), of the same fold.
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
NEDD8 = "Q15843"
#: Per cent: HHsearch's probability of a record and itself.
_SURE = 90.0


class NoAnswerError(SnakefoldError):
    """A search did not find what it must find."""


def run(tool: Tool, database: Database, work: Path, log: Log) -> str:
    """Search the beginning of `database` with `tool` for one of its own records.

    Args:
        work: folder for the part and the search's scratch files; made if it is not there.

    Returns:
        What was found, for the report.

    Raises:
        NoAnswerError, NoSequenceError: the record was not found, or there is none to look for.
        MissingProgramError, ProgramError: the program is not there, or failed.
    """
    work.mkdir(parents=True, exist_ok=True)
    programs.find(tool)
    part = take(database, work, log)
    return f"{tool} finds {part.name} in its beginning ({_SEARCHES[tool](part, work, log)})"


def run_demo(tool: Tool, work: Path, log: Log) -> str | None:
    """Search the demo's Swiss-Prot with `tool` for NEDD8, by ubiquitin; None if the tool reads no FASTA.

    Raises:
        As `run`.
    """
    if tool in ("hhblits", "hhsearch"):
        return None
    work.mkdir(parents=True, exist_ok=True)
    programs.find(tool)
    demo = Part(load_preset("demo").databases[0], NEDD8, UBIQUITIN)
    return f"finds NEDD8 by ubiquitin in the demo's Swiss-Prot ({_SEARCHES[tool](demo, work, log)})"


def run_demo_on_gpu(work: Path, log: Log) -> str:
    """The same by MMseqs2 on a GPU, in a padded copy.

    Raises:
        As `run`.
    """
    work.mkdir(parents=True, exist_ok=True)
    database = load_preset("demo").databases[0]
    path = work / "demo.fasta"
    shutil.copyfile(database.path, path)
    padded.make(path, work / "pad", 1, log)
    demo = Part(replace(database, path=path, files=(path,)), NEDD8, UBIQUITIN)
    hits = _searched(mmseqs.search, "mmseqs", demo, work, log, gpu=True)
    return f"finds NEDD8 by ubiquitin in the demo's Swiss-Prot ({_named('mmseqs', demo, hits)})"


def _jackhmmer(part: Part, work: Path, log: Log) -> str:
    return _named("jackhmmer", part, _searched(jackhmmer.search, "jackhmmer", part, work, log))


def _mmseqs(part: Part, work: Path, log: Log) -> str:
    return _named("mmseqs", part, _searched(mmseqs.search, "mmseqs", part, work, log))


def _hhblits(part: Part, work: Path, log: Log) -> str:
    """A record is an alignment, whose name is not that of its first sequence: the best hit counts."""
    hits = _searched(hhblits.search, "hhblits", part, work, log)
    if not hits:
        raise _missed("hhblits", part)
    return f"E-value {hits[0].evalue:.1g}"


def _searched(
    search: Callable[..., object], tool: Tool, part: Part, work: Path, log: Log, *, gpu: bool = False
) -> list[Hit]:
    """Hits of the function that a run calls."""
    settings = MsaSettings.model_validate({"tool": tool, "mmseqs_recipe": "simple", "mmseqs": {"gpu": gpu}})
    preset = Preset("doctor", work, (replace(part.database, tools=frozenset({tool})),))
    chain = PlannedChain(key=sequence_key([part.sequence]), sequence=part.sequence)
    found = search([chain], preset, settings, work / "search", log)[chain.key]  # type: ignore[index]
    if isinstance(found, TargetError):
        raise NoAnswerError(str(found))
    return list(found[0].hits)


def _named(tool: Tool, part: Part, hits: list[Hit]) -> str:
    """The record's own hit; programs differ in what they keep of `sp|P07419|HBA_DASVI`."""
    for hit in hits:
        if hit.target == part.name or hit.target in part.name.split("|"):
            return f"E-value {hit.evalue:.1g}, {count(len(hits), 'hit')}"
    raise _missed(tool, part)


def _hhsearch(part: Part, work: Path, log: Log) -> str:
    query, report = work / "query.fasta", work / "hits.hhr"
    query.write_text(f">query\n{part.sequence}\n")
    program = programs.find("hhsearch")
    programs.run(
        [program, "-i", query, "-o", report, "-d", part.database.path.resolve(), "-cpu", "2"], work, log
    )
    best = re.search(r"^Probab=([\d.]+)", report.read_text(), re.MULTILINE)
    if best is None or float(best[1]) < _SURE:
        raise _missed("hhsearch", part)
    return f"probability {best[1]} %"


def _hmmsearch(part: Part, work: Path, log: Log) -> str:
    query, profile, table = work / "query.sto", work / "query.hmm", work / "hits.tsv"
    query.write_text(f"# STOCKHOLM 1.0\nquery {part.sequence}\n//\n")
    programs.run([programs.find("hmmbuild"), "--amino", profile, query], work, log)
    program = programs.find("hmmsearch")
    programs.run([program, "--noali", "--tblout", table, profile, part.database.path.resolve()], work, log)
    for line in table.read_text().splitlines():
        name, _, _, _, evalue, *_ = [*line.split(), *[""] * 5]
        if name == part.name:
            return f"E-value {evalue}"
    raise _missed("hmmsearch", part)


def _missed(tool: Tool, part: Part) -> NoAnswerError:
    return NoAnswerError(f"{tool} did not find {part.name} in {part.database.path}, which holds it.")


_SEARCHES: dict[Tool, Callable[[Part, Path, Log], str]] = {
    "jackhmmer": _jackhmmer,
    "mmseqs": _mmseqs,
    "hhblits": _hhblits,
    "hhsearch": _hhsearch,
    "hmmsearch": _hmmsearch,
}
