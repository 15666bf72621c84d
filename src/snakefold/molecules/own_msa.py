"""Alignments that an entity of an assembly brings: an A3M or Boltz's CSV, checked to be of its sequence.

Boltz's CSV has the columns `key` and `sequence`: rows of different chains with the same key are paired. Both
are kept in one form of text (`normal`), whose sha256 names them in keys, plans and requests. A file is looked
for beside the file that names it, then in the current folder, as Boltz does.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

from snakefold.kernel.names import shown
from snakefold.kernel.paths import may_be_named
from snakefold.molecules.a3m import check_row, of_one_chain
from snakefold.molecules.entities import CALLED, NO_ALIGNMENT, Assembly, Entity, Kind
from snakefold.molecules.lines import BadFile, read_lines, read_text
from snakefold.molecules.readers.labels import label_of
from snakefold.molecules.sequences import BadSequence, to_standard

#: The first line of an alignment in Boltz's CSV, in the form kept here.
CSV_HEADER = "key,sequence"
#: Texts inside an AlphaFold 3 JSON; the same bound as for reading it.
_MAX_JSON = 1 << 26
#: Files of one run that are not read again for the next entity that names them.
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Rows:
    """An alignment as engines read it: an A3M, and for each row what it is paired by.

    Attributes:
        keys: of each row; rows of different chains with the same key belong together, None is paired with
            nothing. None in place of all: nobody said.
    """

    a3m: str
    keys: tuple[int | None, ...] | None = None


def normal(lines: Iterable[str], sequence: str) -> str:
    """An alignment of `sequence`, an A3M or Boltz's CSV, in the one form in which it is hashed and handed on.

    Raises:
        BadFile: it is none, or it is of another sequence. Lines are those of the alignment.
    """
    source = iter(lines)
    leading = []
    for line in source:
        leading.append(line)
        if line.strip():
            break
    else:
        raise BadFile("msa", "The alignment is empty.", "Write 'empty' for none, or leave it out.")
    columns = [cell.strip().strip("\"'").lower() for cell in leading[-1].split(",")]
    whole = chain(leading, source)
    if "sequence" in columns:
        query, text = _csv(whole)
    else:
        query, text = of_one_chain(whole)
    if query != sequence:
        message = f"The alignment is of another sequence: {_difference(query, sequence)}."
        raise BadFile("msa", message, "Its first row must be the entity's sequence.")
    return text


def _difference(query: str, sequence: str) -> str:
    if len(query) != len(sequence):
        return f"its first row has {len(query)} residues, the entity {len(sequence)}"
    place = next(place for place, pair in enumerate(zip(query, sequence, strict=True)) if len(set(pair)) > 1)
    return f"residue {place + 1} is {query[place]} in its first row, and {sequence[place]} in the entity"


def _csv(lines: Iterable[str]) -> tuple[str, str]:
    """The query and the text of an alignment in Boltz's CSV.

    Raises:
        BadFile: a row is none.
    """
    reader = csv.reader((line + "\n" for line in lines), strict=True)
    query, text = "", [f"{CSV_HEADER}\n"]
    places: tuple[int, int] | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            names = [cell.strip().lower() for cell in row]
            if places is None:
                if sorted(names) != ["key", "sequence"]:
                    raise _bad_row(f"The columns are {shown(','.join(row), 60)!r}.", reader.line_num)
                places = names.index("key"), names.index("sequence")
                continue
            if len(row) != 2:
                raise _bad_row(f"The row has {len(row)} cells.", reader.line_num)
            key, letters = names[places[0]], row[places[1]].strip()
            if key == "-1":
                key = ""
            if key and not (key.isascii() and key.isdecimal()):
                raise _bad_row(f"The key {shown(key, 20)!r} is no whole number.", reader.line_num)
            try:
                check_row(letters, len(query) or None)
            except BadSequence as problem:
                raise BadFile(problem.code, problem.message, problem.advice, reader.line_num) from problem
            letters = to_standard(letters)
            query = query or letters
            text.append(f"{int(key) if key else ''},{letters}\n")
    except csv.Error as error:
        raise _bad_row(f"The table cannot be read ({error}).", reader.line_num) from error
    return query, "".join(text)


def _bad_row(message: str, line: int) -> BadFile:
    return BadFile(
        "csv",
        message,
        "Expected is Boltz's CSV: columns key and sequence; a key is a whole number, or empty for a row that "
        "is paired with none.",
        line,
    )


def digest(text: str) -> str:
    """What an alignment is called: the sha256 of its text."""
    return hashlib.sha256(text.encode()).hexdigest()


def rows_of(text: str) -> Rows:
    """The rows of an alignment in the form of `normal`."""
    if not text.startswith(f"{CSV_HEADER}\n"):
        return Rows(text)
    cells = [line.split(",") for line in text.splitlines()[1:]]
    names = ["query", *(f"row_{place}" for place in range(1, len(cells)))]
    a3m = "".join(f">{name}\n{row}\n" for name, (_, row) in zip(names, cells, strict=True))
    return Rows(a3m, tuple(int(key) if key else None for key, _ in cells))


@dataclass(frozen=True, slots=True)
class Named:
    """Where a record stands, as far as its alignments need it.

    Attributes:
        file: that names them.
        lines: of each entity, 1-based; none: nobody knows.
        texts: alignments inside the file itself, by the sha256 of their text as found.
        own_files: other files may be read.
        template_lines: of each template, 1-based.
    """

    file: Path
    lines: Sequence[int] = ()
    texts: Mapping[str, str] | None = None
    own_files: bool = True
    template_lines: Sequence[int] = ()


def resolve(assembly: Assembly, named: Named) -> tuple[Assembly, tuple[tuple[str, Path], ...]]:
    """An assembly whose alignments are named by their content, and the files that have them.

    Raises:
        BadFile: an alignment cannot be read or is of another sequence; at the line of its entity.
    """
    if not any(_brought(entity) for entity in assembly.entities):
        return assembly, ()
    entities, files = [], {}
    names = {id(entity): name for name, entity in reversed(list(assembly.chains()))}
    for number, entity in enumerate(assembly.entities):
        found: dict[str, str] = {}
        where = f"{CALLED[entity.kind]} {names[id(entity)]}"
        line = named.lines[number] if number < len(named.lines) else 0
        for field, alignment in _brought(entity).items():
            if entity.kind is not Kind.PROTEIN:
                message = f"{where} brings an alignment, and those of proteins only are read."
                raise BadFile("msa", message, "Leave it out.", line)
            name, path = _digest_of(alignment, entity, named, where, line)
            files[name], found[field] = path, f"sha256:{name}"
        if "paired_msa" in found and entity.msa is None:
            raise BadFile(
                "msa",
                f"{where} brings paired rows only.",
                "Give the other rows too, or say that there are none (unpairedMsa: '').",
                line,
            )
        entities.append(entity.model_copy(update=found) if found else entity)
    return assembly.model_copy(update={"entities": tuple(entities)}), tuple(sorted(files.items()))


def _brought(entity: Entity) -> dict[str, str]:
    said = {"msa": entity.msa, "paired_msa": entity.paired_msa}
    return {field: alignment for field, alignment in said.items() if alignment and alignment != NO_ALIGNMENT}


def _digest_of(alignment: str, entity: Entity, named: Named, where: str, line: int) -> tuple[str, Path]:
    kind, _, rest = alignment.partition(":")
    told, path = f"{where}: its alignment", named.file
    try:
        if kind == "sha256":
            text = _inside(rest, named)
            return digest(normal(text.splitlines(), entity.sequence)), path
        told = f"{where}: the alignment {shown(rest, 60)!r}"
        path = place_of(rest, named)
        stat = path.stat()
        return _digest_of_file(path, (stat.st_size, stat.st_mtime_ns), entity.sequence), path
    except (BadFile, OSError) as problem:
        if isinstance(problem, OSError):
            problem = BadFile("unreadable", f"It cannot be read ({problem.strerror}).", "Check the path.")
        at = f" (line {problem.line} of it)" if problem.line else ""
        raise BadFile("msa", f"{told}: {problem.message}{at}", problem.advice, line) from problem


def _inside(name: str, named: Named) -> str:
    if named.texts is None or name not in named.texts:
        raise BadFile("msa", "It is named by a digest, and there is no such text.", "Give its file.")
    return named.texts[name]


def place_of(name: str, named: Named, *, otherwise: str = " (msa: empty is for none)") -> Path:
    """A file that an input names: beside it, or in the current folder.

    Args:
        otherwise: what the advice ends with.

    Raises:
        BadFile: there is none, or it may not be read.
    """
    if not named.own_files:
        raise BadFile("missing", "Files of this machine are not read for a request.", "Send what is in it.")
    for base in (named.file.parent, Path.cwd()):
        if may_be_named(base / name) and (base / name).is_file():
            return base / name
    raise BadFile(
        "missing",
        "There is no such file.",
        f"Give its path, from the folder of this file or from the current one{otherwise}.",
    )


@lru_cache(maxsize=_REMEMBERED)
def _digest_of_file(path: Path, state: tuple[int, int], sequence: str) -> str:
    """One receptor with thousands of ligands has one alignment; `state` tells a file that has changed."""
    del state
    return digest(normal(read_lines(path, nul=True), sequence))


def own_text(path: Path, wanted: str, sequences: Iterable[str]) -> str | None:
    """The text called `wanted` of an alignment of one of these sequences; None if the file has it no more.

    Args:
        path: the alignment, or an AlphaFold 3 JSON with alignments inside.

    Raises:
        BadFile: the file cannot be read.
    """
    first = next((line for line in read_lines(path, nul=True) if line.strip()), "")
    different = list(dict.fromkeys(sequences))
    if first.lstrip().startswith(("{", "[")):
        inside = _texts(json.loads(read_text(path, _MAX_JSON)))
        texts: list[Iterable[str]] = [text.splitlines() for text in inside]
    else:
        texts = [list(read_lines(path, nul=True))]
    for text in texts:
        for sequence in different:
            try:
                found = normal(text, sequence)
            except BadFile:
                continue
            if digest(found) == wanted:
                return found
    return None


_NAMED = (
    # YAML, JSON, a header of Boltz's FASTA: a name, in quotes or not.
    re.compile(r"""\bmsa['"]?\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s,}#\n][^,}#\n]*))"""),
    re.compile(r"""\b(?:cif|pdb)['"]?\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s,}#\n][^,}#\n]*))"""),
    re.compile(r"""[pP]airedMsaPath"\s*:\s*"([^"\n]*)\""""),
    re.compile(r"^>[^|\n]*\|\s*protein\s*\|([^\n]+)", re.MULTILINE | re.IGNORECASE),
)
_DOCUMENT = re.compile(r"[{\[]|version:|sequences:|%YAML|---")


def alignment_files(file: Path) -> list[Path]:
    """Files of alignments and templates that an input names, as far as they are there.

    The text is looked through, not read as YAML, which takes a hundred times as long: a name too many does
    no harm.
    """
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if suffix in {".a3m", ".csv", ".tsv"}:
        return []
    try:
        first = next((line for line in read_lines(file, nul=True) if line.strip()), "")
        if first.startswith(">"):
            if label_of(first[1:]) is None:
                return []
        elif not _DOCUMENT.match(first.strip()) and suffix not in {".yaml", ".yml", ".json"}:
            return []
        text = read_text(file, _MAX_JSON)
    except (BadFile, OSError):  # its reader says what is wrong
        return []
    said = (match.groups("") for pattern in _NAMED for match in pattern.finditer(text))
    names = dict.fromkeys(name.strip() for groups in said for name in groups if name.strip())
    found = []
    for name in names:
        with suppress(BadFile, ValueError):
            found.append(place_of(name, Named(file)))
    return found


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key in {"unpairedMsa", "pairedMsa"} and isinstance(each, str):
                yield each
            else:
                yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
