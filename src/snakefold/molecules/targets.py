"""Input files in, Targets out, or a Refusal that names file, record and line.

- **FASTA** (`.fasta .fa .faa .fas .fsa .pep`, or any name if the text begins with `>`): one target a record,
  `A:B` separates chains.
- **samplesheet** (`.csv`, `.tsv`): `id,sequence` or `id,fasta`.
- **A3M** (`.a3m`): one target that brings its alignment.
- **AlphaFold 3's JSON**, AlphaFold Server's, and **Boltz's YAML** (`.json`, `.yaml`, `.yml`, or any name if
  the text begins like one): an assembly a job. Proteins alone are a target; an engine judges all else.

Each may be gzip-compressed (`.gz`). A folder stands for the files in it (not below it) that have one of these
endings and are not hidden, by name; a file met twice is read once. Of JSON and YAML only those count that
have sequences: other programs leave theirs in the same folder.

Ids: see `inputs.names`; a record that repeats an id, whatever its sequence, gets a suffix (`-2`). Letters:
see `inputs.sequences`. A bad record is refused alone. A file that is damaged or cannot be taken apart is
refused as a whole, its good-looking records too, since nobody knows what is missing from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from snakefold.kernel.errors import Refusal
from snakefold.kernel.names import shown, unique_ids
from snakefold.molecules.a3m import msa_text, read_a3m
from snakefold.molecules.accepts import Verdict, why_not
from snakefold.molecules.entities import Assembly
from snakefold.molecules.fasta import read_fasta
from snakefold.molecules.folders import sorted_out, suffix_of
from snakefold.molecules.foreign import file_kind, recognised
from snakefold.molecules.lines import BadFile, binary, read_lines
from snakefold.molecules.records import (
    Judge,
    Molecules,
    judged,
    read_json,
    read_names,
    read_yaml,
)
from snakefold.molecules.samplesheet import read_samplesheet
from snakefold.molecules.target import Limits, Target, refuse_file

__all__ = ["Target", "input_files", "msa_text", "passed_over", "read_records", "read_targets"]

_Record = Target | Molecules | Refusal
_Reader = Callable[[Path, Iterable[str], Limits], Iterator[_Record]]

_READERS: dict[str, _Reader] = {
    **dict.fromkeys((".fasta", ".fa", ".faa", ".fas", ".fsa", ".pep"), read_fasta),
    **dict.fromkeys((".csv", ".tsv"), read_samplesheet),
    ".a3m": read_a3m,
}
#: Of these the whole text is read at once.
_DOCUMENTS: dict[str, Callable[[Path, Limits], Iterator[_Record]]] = {
    ".json": read_json,
    ".yaml": read_yaml,
    ".yml": read_yaml,
}
_ENDINGS = " ".join([*_READERS, *_DOCUMENTS])


def proteins_only(assembly: Assembly) -> Verdict | None:
    """The judge where no engine is asked."""
    return why_not(assembly, None)


def read_targets(
    paths: Sequence[Path], *, min_length: int, max_length: int
) -> tuple[list[Target], list[Refusal]]:
    """Targets and refusals of files and folders. Nothing a file can hold raises."""
    records = read_records(paths, min_length=min_length, max_length=max_length)
    targets = [record for record in records if isinstance(record, Target)]
    return targets, [record for record in records if isinstance(record, Refusal)]


def read_records(
    paths: Sequence[Path],
    *,
    min_length: int,
    max_length: int,
    judge: Judge = proteins_only,
    own_files: bool = True,
) -> list[Target | Refusal]:
    """Like `read_targets`, in the order of the input.

    Args:
        judge: says why more than proteins is refused.
        own_files: read the alignments and templates that an input names. False for what comes from somebody
            else, who may name any file of this machine.
    """
    limits = Limits(min_length, max_length)
    records: list[Target | Refusal] = []
    met: set[Path] = set()
    for path in paths:
        try:
            files = input_files(path)
        except BadFile as problem:
            records.append(refuse_file(path, problem))
            continue
        for file in files:
            if (real := file.resolve()) not in met:
                met.add(real)
                records += [
                    judged(record, judge, own_files=own_files) if isinstance(record, Molecules) else record
                    for record in _read_file(file, limits)
                ]
    targets = [record for record in records if isinstance(record, Target)]
    ids = iter(unique_ids(target.id for target in targets))
    return [_with_id(record, next(ids)) if isinstance(record, Target) else record for record in records]


def _with_id(target: Target, name: str) -> Target:
    return target if target.id == name else replace(target, id=name)


def input_files(path: Path) -> list[Path]:
    """The files that a path given as input stands for.

    Raises:
        BadFile: there is none.
    """
    try:
        if path.is_dir():
            return _files_in(path)
        if path.is_file():
            return [path]
        there = path.exists()
    except (OSError, ValueError) as error:
        raise BadFile("unreadable", f"The path cannot be used ({error}).", "Check `input`.") from error
    if there:
        raise BadFile("no_file", "This is no regular file.", "Give a file or a folder.")
    raise BadFile("missing", "no such file or folder.", "Check the path given as `input`.")


def _files_in(folder: Path) -> list[Path]:
    found = sorted_out(folder, _READERS)
    if not found.files:
        passed = f" {found.passed[:1].upper()}{found.passed[1:]}" if found.passed else ""
        raise BadFile(
            "no_sequences",
            f"The folder has no sequence files.{passed}",
            f"Expected are names ending in {_ENDINGS} (or these with .gz).",
        )
    return found.files


def passed_over(paths: Iterable[Path]) -> list[str]:
    """A sentence for each folder among inputs of which some files are not read: which, and why."""
    said = []
    for path in paths:
        with suppress(OSError, ValueError):  # reading it says what is wrong
            if path.is_dir() and (passed := sorted_out(path, _READERS).passed):
                said.append(f"input {shown(str(path), None)}: {passed}")
    return said


def _read_file(path: Path, limits: Limits) -> list[_Record]:
    try:
        return list(_records_of(path, limits))
    except BadFile as problem:
        return [refuse_file(path, problem)]


def _records_of(path: Path, limits: Limits) -> Iterator[_Record]:
    if not str(path).isprintable():
        raise BadFile("file_name", "The file's name has characters that cannot be shown.", "Rename it.")
    suffix = suffix_of(path)
    if suffix in _DOCUMENTS:
        return _DOCUMENTS[suffix](path, limits)
    # In an A3M a NUL byte closes an alignment; in a FASTA it spoils one record, as a byte that is no UTF-8.
    reader = _READERS.get(suffix)
    lines = read_lines(path, nul=reader is not read_samplesheet)
    leading = []
    for number, line in enumerate(lines, 1):
        if "\0" in line and reader is not read_a3m:
            raise binary(number)
        leading.append(line)
        if line.strip():
            break
    else:
        raise BadFile("empty", "The file is empty.", "Add sequences.")
    if suffix not in _READERS and (document := _document_for(leading[-1])) is not None:
        return document(path, limits)
    reader = reader or _reader_for(leading[-1])
    return reader(path, chain(leading, lines), limits)


def _document_for(first: str) -> Callable[[Path, Limits], Iterator[_Record]] | None:
    """How a text of an unknown ending is read that begins like JSON, or like Boltz's YAML."""
    begin = first.strip()
    if begin.startswith(("{", "[")):
        return read_json
    return read_yaml if begin.startswith(("version:", "sequences:", "%YAML", "---")) else None


def _reader_for(first: str) -> _Reader:
    if first.startswith(">"):
        return read_fasta
    if recognised(first) or recognised(first.split(maxsplit=1)[0]):
        return read_names
    known = f"Known are {_ENDINGS} (or these with .gz)."
    if kind := file_kind(first):
        raise BadFile("unknown_kind", f"This is {kind}, and its name has no known ending.", known)
    raise BadFile(
        "unknown_kind",
        f"This is no FASTA (its text begins with {shown(first, 12)!r}), and its name has no known ending.",
        known,
    )
