"""What a run depends on, named by content: the settings as checked, and every file that its plan reads.

Times say nothing: files are edited behind a sample sheet, unpacked or checked out with times of their own,
and clocks are wrong. So the plan of a run is named by a digest of contents (workflow/rules/plan.smk).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.config import Config, inputs_of
from snakefold.kernel import recipes
from snakefold.kernel.paths import resource
from snakefold.kernel.store import write_atomically
from snakefold.molecules import backbone_inputs
from snakefold.molecules.lines import BadFile
from snakefold.molecules.own_msa import alignment_files
from snakefold.molecules.samplesheet import sheet_files
from snakefold.molecules.targets import input_files

#: Folder in the results for what is nobody's result: the lock, digests that were taken.
OWN = ".snakefold"

_MISSING = "missing"
#: Digests of smaller sets are taken again each time, which costs less than to keep them.
_WORTH_KEEPING = 1 << 24
#: A file that changes again within one tick of the clock looks as it did before.
_SETTLED_NS = 2_000_000_000


class Digests:
    """sha256 of files. A file is not read again while size, both times and inode are as they were.

    The time of the last change of an inode cannot be set back, as that of a file's content can be by `cp -p`.
    """

    def __init__(self, kept: Path | None = None) -> None:
        self._kept = kept
        self._known: dict[str, list[Any]] = {}
        self._used: dict[str, list[Any]] = {}
        self._read = 0
        if kept is not None:
            with suppress(OSError, ValueError):
                self._known = dict(json.loads(kept.read_text(encoding="utf-8")))

    def of(self, path: Path) -> str:
        """The sha256 of a file's content; the text `missing` if it cannot be read."""
        try:
            stat = path.stat()
            identity = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
            name = str(path.absolute())
            entry = self._known.get(name)
            if entry is None or entry[:-1] != identity:
                began = time.time_ns()
                with path.open("rb") as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
                self._read += stat.st_size
                entry = [*identity, found]
                if began - stat.st_ctime_ns < _SETTLED_NS:
                    return found
            self._used[name] = entry
            return str(entry[-1])
        except OSError:
            return _MISSING

    def keep(self) -> None:
        """Keep what was taken, if that is worth it and a run has begun here."""
        if self._kept is None or self._read < _WORTH_KEEPING or not self._kept.parent.is_dir():
            return
        with suppress(OSError):  # they are taken again
            write_atomically(self._kept, json.dumps(self._used).encode())


def contents_of(config: Config, *, made: bool = False) -> dict[str, str]:
    """Digests of all that a run with these settings depends on, by what it is.

    A file that is missing has a digest as well: that it is missing. Nothing is said of it here.

    Args:
        made: the run itself makes its input, which says nothing before it does.

    Raises:
        ConfigError: there is no such database preset.
    """
    results = Path(config.results)
    digests = Digests(results / OWN / "digests.json")
    settings = config.model_dump(mode="json")
    # One folder may be called by several names; and in another folder, relative paths name other files.
    settings["results"] = str(Path.cwd())
    settings.pop("runpod", None)  # where jobs go changes no plan
    if made:
        settings.pop("input")
    inputs = [] if made else inputs_of(config)
    tables = [Path(path) for path in (config.gpu.table, config.calibration) if path]
    parts: dict[str, Any] = {
        "settings": settings,
        "input": [_input(path, digests, backbones=config.designs) for path in inputs],
        "references": {name: digests.of(resource(path)) for name, path in config.references.items()},
        "reuse": [_collection(name) for name in config.reuse],
        "databases": list(_databases(config)),
        "weights": _weights(config),
        "tables": [digests.of(path) for path in tables],
    }
    if config.screen.ligands is not None:
        parts["ligands"] = digests.of(Path(config.screen.ligands))
    if config.design.control is not None:
        parts["control"] = digests.of(resource(config.design.control))
    digests.keep()
    return {name: recipes.digest({name: part}) for name, part in parts.items()}


def name_of(contents: dict[str, str]) -> str:
    """The one digest of `contents_of`: 16 hexadecimal digits."""
    return recipes.digest(contents)


def _input(path: Path, digests: Digests, *, backbones: bool) -> list[Any]:
    """An input: names and digests of its files, and of those that its sheets and assemblies name."""
    try:
        files = backbone_inputs.input_files(path) if backbones else input_files(path)
    except BadFile as problem:
        return [str(path), problem.code]
    if backbones:
        structures = ((file, each) for file in files for each in (file, *backbone_inputs.named_files(file)))
        return [str(path), [[str(file), str(each), digests.of(each)] for file, each in structures]]
    named = ((file, each) for file in files for each in (file, *sheet_files(file), *alignment_files(file)))
    return [str(path), [[str(file), str(each), digests.of(each)] for file, each in named]]


def _collection(name: str) -> list[Any]:
    """A collection of structures, which may have terabytes: its files count by size, times and inode."""
    from snakefold.engines.reuse import collections
    from snakefold.kernel.errors import SnakefoldError

    try:
        path = collections.check(name)
        return [
            str(path),
            [
                [file.place.file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
                for file, stat in collections.walk(path)
            ],
        ]
    except (SnakefoldError, OSError):
        return [name, _MISSING]


def _databases(config: Config) -> Iterator[list[Any]]:
    from snakefold.msa.databases import presets as databases

    preset = databases.load_preset(config.msa.db_preset, config.msa.db_root)
    for database in databases.used(preset, config.msa):
        yield [database.name, database.limit, *_fingerprints(database.files)]


def _weights(config: Config) -> list[Any]:
    files: list[Path] = []
    for name in config.wanted_engines:
        engine = engines.get(name)
        files += engine.parameter_files(engine.parameter_folder(config.weights))
    return list(_fingerprints(files))


def _fingerprints(files: Iterable[Path] | Sequence[Path]) -> Iterator[Any]:
    """As recipes have them: size and both ends of a file, the number of entries of a folder."""
    for file in files:
        try:
            if file.is_dir():
                yield [str(file), sum(1 for _ in os.scandir(file))]
            else:
                yield [str(file), recipes.file_fingerprint(file)]
        except OSError:
            yield [str(file), _MISSING]
