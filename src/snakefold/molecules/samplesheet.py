"""Samplesheets: `id,sequence` (ColabFold) or `id,fasta` (nf-core/proteinfold); comma, tab or semicolon.

Columns of ligands that are predicted with the proteins: `ligand_smiles` and `ligand_ccd`, several of them
separated by ';'; `copies`, of each; `affinity`, whether that of the ligand is wanted.

Columns of structures that a target brings: `templates` (`templatepath` in ColabFold's sheets), several of
them separated by ';', and `initial_guess`. Their paths are relative to the sheet.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from snakefold.kernel.errors import Refusal
from snakefold.kernel.names import shown
from snakefold.kernel.paths import may_be_named
from snakefold.molecules.blocks import no_records, read_blocks
from snakefold.molecules.complexes import bound, ligand, proteins_of
from snakefold.molecules.entities import MAX_CHAINS, Assembly, InitialGuess, Template
from snakefold.molecules.foreign import recognised
from snakefold.molecules.lines import BadFile, read_lines
from snakefold.molecules.notation import form_of
from snakefold.molecules.own_msa import Named, place_of
from snakefold.molecules.readers.labels import label_of
from snakefold.molecules.records import Molecules
from snakefold.molecules.sequences import BadSequence
from snakefold.molecules.target import Limits, Place, Target, check_encoding, make_target, refuse

_EXPECTED = "The first line must name the columns: `id,sequence` or `id,fasta`."
#: Columns of ColabFold's sheets that change the result: passing over them would fold something else.
_UNSUPPORTED = {"a3mpath"}
#: Columns of ligands that are predicted with the proteins of a row.
_LIGANDS = ("ligand_smiles", "ligand_ccd", "copies", "affinity")
_FILE_NAME = re.compile(r"[^\x00-\x1f]{1,1000}")
#: Columns of structures, and what ColabFold calls one of them.
_STRUCTURES = ("templates", "initial_guess")
_COLABFOLD = {"templatepath": "templates"}
_YES, _NO = {"yes", "true", "1", "y"}, {"", "no", "false", "0", "n"}
#: Columns of what would be predicted with the protein, and what they hold.
_BESIDE = {
    **dict.fromkeys(("smiles", "ligand", "ligands", "ccd", "inchi"), "ligands"),
    **dict.fromkeys(("dna", "rna"), "nucleic acids"),
}
#: Columns that say in another way than by a sequence what is meant.
_OTHER = {
    **_BESIDE,
    **dict.fromkeys(("accession", "accessions", "uniprot", "uniprot_id", "entry"), "UniProt accessions"),
    **dict.fromkeys(("pdb", "pdb_id", "pdbid"), "PDB codes"),
}


@dataclass(frozen=True, slots=True)
class _Columns:
    name: int
    content: int
    is_path: bool
    count: int
    engine: int | None
    ligands: Mapping[str, int]
    structures: Mapping[str, int]
    #: Of a sheet without ligands, where the word may mean a measured value.
    affinity: int | None = None


def read_samplesheet(
    path: Path, lines: Iterable[str], limits: Limits
) -> Iterator[Target | Molecules | Refusal]:
    """Targets and refusals of a samplesheet, in order; other columns are passed over.

    The column `engine` names what folds a target, if it is not the configuration that says so.

    A FASTA path is relative to the sheet. A FASTA file with several records is a complex of them, as in
    nf-core/proteinfold.

    Raises:
        BadFile: no such columns, quotes that do not match, an oversized cell.
    """
    rows = rows_of(lines)
    try:
        line, header = next(rows)
    except StopIteration:
        raise BadFile("no_columns", "The table is empty.", _EXPECTED) from None
    columns = _columns(header, line)
    record = 0
    for line, row in rows:
        record += 1
        name = row[columns.name].strip() if columns.name < len(row) else ""
        place = Place(path, record, line, name)
        more = columns.ligands or columns.structures
        read_with = limits.of_assemblies if more else limits
        found: Target | Molecules | Refusal = _target(place, row, columns, read_with)
        if more and isinstance(found, Target):
            found = _with_more(place, found, row, columns, limits)
        elif isinstance(found, Target) and _asks(row, columns):
            found = refuse(place, _NOTHING_BINDS)
        if columns.engine is not None and not isinstance(found, Refusal):
            found = replace(found, engine=row[columns.engine].strip())
        yield found
    if not record:
        raise BadFile("no_records", "The table has no rows below its header.", "Add one row a target.")


def sheet_files(path: Path) -> Iterator[Path]:
    """FASTA files and structures that a sample sheet names; none if it is no sample sheet.

    FASTA files whether they are there or not. Structures are looked for as readers of assemblies do.
    """
    if not path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv")):
        return
    with suppress(BadFile):  # `read_samplesheet` says what is wrong
        rows = rows_of(read_lines(path))
        columns = next((_columns(header, line) for line, header in rows), None)
        if columns is None:
            return
        for _, row in rows:
            if len(row) != columns.count or "\0" in "".join(row):
                continue
            cell = row[columns.content].strip() if columns.is_path else ""
            if cell and may_be_named(path.parent / cell):
                yield path.parent / cell
            for at in columns.structures.values():
                for name in _listed(row[at]):
                    with suppress(BadFile, OSError, ValueError):
                        yield place_of(name, Named(path))


def rows_of(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the number of its first line."""
    source = iter(lines)
    skipped, first = 0, ""
    for first in source:
        if first.strip():
            break
        skipped += 1
    if not first.strip():
        return
    delimiter = max(",\t;", key=first.count)
    reader = csv.reader(_ended(first, source), delimiter=delimiter, strict=True, skipinitialspace=True)
    before = 0
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield skipped + before + 1, row
            before = reader.line_num
    except csv.Error as error:
        line = skipped + before + 1
        raise BadFile("csv", f"The table cannot be read ({error}).", "Check its quotes.", line) from error


def _ended(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first + "\n"
    for line in rest:
        yield line + "\n"


def _columns(header: Sequence[str], line: int) -> _Columns:
    names = [cell.strip().lower() for cell in header]
    if unsupported := _UNSUPPORTED & set(names):
        raise BadFile(
            "no_columns",
            f"The column {min(unsupported)!r} is not supported.",
            "Give A3M files as inputs of their own.",
            line,
        )
    # nf-core/proteinfold 1.0 called the id `sequence`.
    id_name = "sequence" if sorted(names) == ["fasta", "sequence"] else "id"
    content = [name for name in ("sequence", "fasta") if name in names and name != id_name]
    if not content:
        _refuse_other(names, header, line)
    if beside := next((name for name in names if name in _BESIDE), None):
        raise BadFile(
            "no_columns",
            f"The column {beside!r} holds {_BESIDE[beside]}, and a sheet is read for proteins.",
            "Take the column out to fold the proteins alone; ligands that are predicted with them are in the "
            "columns ligand_smiles and ligand_ccd.",
            line,
        )
    if names.count(id_name) != 1 or len(content) != 1 or names.count(content[0]) != 1:
        raise BadFile("no_columns", f"The columns are {shown(','.join(header))!r}.", _EXPECTED, line)
    names = [_COLABFOLD.get(name, name) for name in names]
    once = ("engine", *_LIGANDS, *_STRUCTURES)
    if twice := next((name for name in once if names.count(name) > 1), None):
        raise BadFile("no_columns", f"The column {twice!r} is there twice.", "Take one of them out.", line)
    for given in names:
        if given not in _LIGANDS and (meant := _meant(given)):
            raise BadFile(
                "no_columns",
                f"The column {shown(given, 40)!r} is not known.",
                f"Is {meant} meant? The columns of ligands are {', '.join(_LIGANDS)}.",
                line,
            )
    ligands = {name: names.index(name) for name in _LIGANDS if name in names}
    if ligands and not {"ligand_smiles", "ligand_ccd"} & set(ligands):
        # These words may mean something else in a sheet of proteins.
        ligands = {}
    engine = names.index("engine") if "engine" in names else None
    return _Columns(
        name=names.index(id_name),
        content=names.index(content[0]),
        is_path=content[0] == "fasta",
        count=len(names),
        engine=engine,
        ligands=ligands,
        structures={name: names.index(name) for name in _STRUCTURES if name in names},
        affinity=names.index("affinity") if "affinity" in names and not ligands else None,
    )


_NOTHING_BINDS = BadFile(
    "affinity",
    "Affinity is asked for, and the sheet has no column of ligands.",
    "Give the ligand in a column ligand_smiles or ligand_ccd.",
)


def _asks(row: Sequence[str], columns: _Columns) -> bool:
    """Whether a row of a sheet without ligands asks for an affinity."""
    if columns.affinity is None or columns.affinity >= len(row):
        return False
    return row[columns.affinity].strip().lower() in _YES - {"1"}


def _meant(name: str) -> str:
    """The column of ligands that a name was meant to be; empty if it is none of them."""
    plain = "_".join(name.replace("-", " ").replace("_", " ").split())
    if not plain.startswith("lig"):
        return ""
    return next(iter(difflib.get_close_matches(plain, _LIGANDS, 1, 0.8)), "")


def _refuse_other(names: Sequence[str], header: Sequence[str], line: int) -> None:
    """Raises BadFile for a table without sequences that has something else in their place."""
    if other := next((name for name in names if name in _OTHER), None):
        message = f"The column {other!r} holds {_OTHER[other]}, and there is no column of sequences."
        raise BadFile("no_columns", message, _EXPECTED, line)
    for cell in header:
        if (found := recognised(cell)) is not None:
            raise BadFile(
                found.code, found.message, f"{found.advice} No line names the columns. {_EXPECTED}", line
            )


def _target(place: Place, row: Sequence[str], columns: _Columns, limits: Limits) -> Target | Refusal:
    try:
        text = _text_of(place.file, row, columns)
    except BadSequence as problem:
        return refuse(place, problem)
    return make_target(place, place.header, text, limits)


def _with_more(
    place: Place, target: Target, row: Sequence[str], columns: _Columns, limits: Limits
) -> Target | Molecules | Refusal:
    """The proteins of a row with its ligands and structures; the proteins alone if it has none."""
    cells = {
        name: row[at].strip() if (at := columns.ligands.get(name)) is not None else "" for name in _LIGANDS
    }
    try:
        bare = Assembly(entities=tuple(proteins_of(target.chains)))
        assembly = _with_structures(_with_ligands(bare, cells, place.line), row, columns)
        if assembly == bare:
            limits.check(target.length)
            return target
    except (BadFile, BadSequence) as problem:
        return refuse(place, problem)
    lines = (place.line,) * len(assembly.entities)
    marks = (place.line,) * len(assembly.templates)
    return Molecules(place, assembly, target.note, lines, limits=limits, template_lines=marks)


def _with_ligands(bare: Assembly, cells: Mapping[str, str], line: int) -> Assembly:
    """What the cells of a row make of its chains."""
    affinity = _flag(cells["affinity"])
    named = [("smiles", each) for each in _listed(cells["ligand_smiles"])]
    named += [("ccd", each) for each in _listed(cells["ligand_ccd"])]
    copies = _copies(cells["copies"], len(named))
    if affinity and len(named) != 1:
        raise BadFile(
            "affinity",
            f"Affinity is asked for, and the row has {len(named) or 'no'} ligand{'s' if named else ''}.",
            "Give one ligand a row, or a Boltz YAML that names the one that is meant.",
        )
    if not named:
        return bare
    ligands = [
        ligand(each if what == "smiles" else "", each if what == "ccd" else "", line, times)
        for (what, each), times in zip(named, copies, strict=True)
    ]
    return bound(bare, ligands, affinity=affinity)


def _with_structures(assembly: Assembly, row: Sequence[str], columns: _Columns) -> Assembly:
    """An assembly with the structures that the cells of its row name."""
    named = {what: _listed(row[at]) for what, at in columns.structures.items()}
    for name in (name for names in named.values() for name in names):
        if "://" in name or not _FILE_NAME.fullmatch(name):
            said = f"{shown(name, 60)!r} is no path of a file."
            raise BadFile("missing", said, "Download it first, and give its path.")
    templates = [Template(form=form_of(name), file=f"file:{name}") for name in named.get("templates", ())]
    guesses = [
        InitialGuess(form=form_of(name), file=f"file:{name}") for name in named.get("initial_guess", ())
    ]
    if len(guesses) > 1:
        raise BadFile("initial_guess", f"The row has {len(guesses)} initial guesses.", "Give one.")
    update = {"templates": tuple(templates), "initial_guess": guesses[0] if guesses else None}
    return assembly.model_copy(update=update)


def _listed(cell: str) -> list[str]:
    return [each.strip() for each in cell.split(";") if each.strip()]


def _flag(cell: str) -> bool:
    if cell.lower() not in _YES | _NO:
        raise BadFile("type", f"affinity is {shown(cell, 20)!r}.", "Expected is yes or no.")
    return cell.lower() in _YES


def _copies(cell: str, ligands: int) -> list[int]:
    """How often each of the ligands is there."""
    given = _listed(cell)
    if not all(each.isascii() and each.isdecimal() and 0 < int(each[:6]) <= MAX_CHAINS for each in given):
        raise BadFile(
            "type", f"copies is {shown(cell, 20)!r}.", "Expected is a number of ligands, 1 or more."
        )
    if len(given) > 1 and len(given) != ligands:
        raise BadFile(
            "type",
            f"copies has {len(given)} numbers for {ligands} ligands.",
            "Give one for all of them, or one for each.",
        )
    return [int(each) for each in given or ["1"]] * (ligands if len(given) < 2 else 1)


def _text_of(sheet: Path, row: Sequence[str], columns: _Columns) -> str:
    if len(row) != columns.count:
        raise BadSequence(
            "columns",
            f"The row has {len(row)} cells, the header {columns.count}.",
            "Put cells with the separator in them into quotes.",
        )
    check_encoding("".join(row))
    content = row[columns.content].strip()
    if not columns.is_path:
        return content
    try:
        return _text_of_fasta(sheet.parent, content)
    except BadFile as problem:
        raise BadSequence(problem.code, f"{shown(content)!r}: {problem.message}", problem.advice) from problem


def _text_of_fasta(folder: Path, cell: str) -> str:
    """Sequences of the FASTA file that a cell names, joined by `:`."""
    advice = "Give the path of a FASTA file, relative to the table's folder."
    if "://" in cell:
        raise BadFile("no_fasta", "This is an address.", "Download it first. " + advice)
    path = folder / cell
    try:
        found = may_be_named(path) and path.is_file()
    except OSError:
        found = False
    if not found:
        raise BadFile("no_fasta", "There is no such file.", advice)
    blocks = list(read_blocks(read_lines(path)))
    if not blocks or blocks[0].header is None:
        raise no_records()
    for block in blocks:
        label = label_of(block.header or "")
        if label is not None and label.what != "protein":
            raise BadFile(
                "label",
                f"The header {shown(block.header or '', 40)!r} says '{label.what}' in the manner of "
                f"{label.program}, and a sheet names files of proteins.",
                "Give the file as an input of its own.",
            )
    return ":".join(block.text for block in blocks)
