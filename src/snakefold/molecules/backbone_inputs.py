"""Backbones as input: structure files, folders of them, or a sheet that says what of each is designed.

- **structure** (`.pdb .ent .cif .mmcif`, plain or `.gz`): all its protein chains are designed. A folder
  stands for the structures in it, and the results of an earlier run for the best model of each target.
- **sheet** (`.csv`, `.tsv`): columns `id` and `backbone` (a path relative to the sheet), and where wanted
  `chains` (`A B`), `fixed_positions` (`A:1 2 5-10; B:52A @60`) and `homooligomer` (yes or no).

Positions count from 1 along a chain, gaps included; what ends in a letter, or begins with @, is a residue
number of the file (`molecules.designs`).
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from snakefold.kernel.errors import Refusal, TargetError
from snakefold.kernel.names import safe_id, shown, unique_ids
from snakefold.kernel.paths import may_be_named
from snakefold.kernel.wording import count
from snakefold.molecules.designs import Position, Wanted, make_design
from snakefold.molecules.folders import suffix_of
from snakefold.molecules.lines import BadFile, read_lines
from snakefold.molecules.samplesheet import rows_of
from snakefold.molecules.sequences import BadSequence
from snakefold.molecules.target import Limits, Place, Target, refuse, refuse_file

if TYPE_CHECKING:
    from snakefold.molecules.backbones import BackboneChain

STRUCTURES = (".pdb", ".ent", ".cif", ".mmcif")
SHEETS = (".csv", ".tsv")
#: The best model in a target's folder.
_BEST = "ranked_0.cif"
_COLUMNS = ("id", "backbone", "chains", "fixed_positions", "homooligomer")
_YES, _NO = {"yes", "true", "1", "y"}, {"", "no", "false", "0", "n"}
#: Bytes of a structure.
_MOST = 1 << 28
_RANGE = re.compile(r"(\d{1,6})-(\d{1,6})")
_NUMBERED = re.compile(r"@?-?\d{1,6}[A-Za-z]?")


@dataclass(frozen=True)
class Defaults:
    """What holds for backbones of which no sheet says otherwise.

    Attributes:
        chains: to design, as in `Wanted`; empty: all.
        conserved: shares of conserved positions that stay: each makes a target of its own.
    """

    chains: Sequence[str] | str = ""
    homooligomer: bool = False
    conserved: Sequence[float] = (0.0,)


def read_backbones(
    paths: Sequence[Path], defaults: Defaults, *, min_length: int, max_length: int
) -> list[Target | Refusal]:
    """Targets and refusals of files and folders, in order. Nothing that a file has raises."""
    limits = Limits(min_length, max_length)
    records: list[Target | Refusal] = []
    for path in paths:
        try:
            for file in input_files(path):
                read = _of_sheet if suffix_of(file) in SHEETS else _of_structure
                records += read(file, defaults, limits)
        except BadFile as problem:
            records.append(refuse_file(path, problem))
    ids = iter(unique_ids(record.id for record in records if isinstance(record, Target)))
    return [replace(record, id=next(ids)) if isinstance(record, Target) else record for record in records]


def input_files(path: Path) -> list[Path]:
    """The structures and sheets that a path given as input stands for.

    Raises:
        BadFile: there is none.
    """
    try:
        if path.is_dir() and (path / "structures").is_dir():
            return _of_a_run(path)
        if path.is_dir():
            found = sorted(
                entry
                for entry in path.iterdir()
                if not entry.name.startswith(".") and suffix_of(entry) in STRUCTURES and entry.is_file()
            )
            if not found:
                raise BadFile(
                    "no_backbones",
                    "The folder has no structures.",
                    f"Expected are names ending in {' '.join(STRUCTURES)} (or these with .gz).",
                )
            return found
        if path.is_file():
            if suffix_of(path) not in STRUCTURES + SHEETS:
                raise BadFile(
                    "no_backbones",
                    "Sequences are designed for backbones, and this is no structure.",
                    f"Expected are names ending in {' '.join(STRUCTURES)}, or a sheet (.csv, .tsv) with the "
                    "columns id and backbone.",
                )
            return [path]
    except OSError as error:
        raise BadFile(
            "unreadable", f"The path cannot be used ({error.strerror}).", "Check `input`."
        ) from error
    raise BadFile("missing", "no such file or folder.", "Check the path given as `input`.")


def _of_a_run(results: Path) -> list[Path]:
    """The best models of a run's targets."""
    found = sorted((results / "structures").glob(f"*/{_BEST}"))
    if not found:
        raise BadFile(
            "no_backbones",
            "The results have no structures.",
            f"Expected are structures/TARGET/{_BEST}, as a run that folds leaves them.",
        )
    return found


def named_files(sheet: Path) -> Iterator[Path]:
    """Structures that a sheet names, whether they are there or not; none if it is no sheet."""
    if suffix_of(sheet) not in SHEETS:
        return
    with suppress(BadFile):  # `read_backbones` says what is wrong
        for _, _, cells in _rows(sheet):
            structure = sheet.parent / cells["backbone"]
            if cells["backbone"] and "\0" not in cells["backbone"] and may_be_named(structure):
                yield structure


def _of_structure(path: Path, defaults: Defaults, limits: Limits) -> list[Target | Refusal]:
    # Models of a run are called alike in all targets' folders.
    name = path.parent.name if path.name == _BEST else path.name
    for ending in (".gz", *STRUCTURES):
        name = name[: -len(ending)] if name.lower().endswith(ending) else name
    wanted = Wanted(chains=defaults.chains, homooligomer=defaults.homooligomer)
    return _targets(Place(path, 1, 1, name), path, wanted, defaults, limits)


def _of_sheet(path: Path, defaults: Defaults, limits: Limits) -> list[Target | Refusal]:
    found: list[Target | Refusal] = []
    for number, line, cells in _rows(path):
        place = Place(path, number, line, cells["id"])
        try:
            wanted = _wanted(cells, defaults)
            structure = path.parent / cells["backbone"]
            _check_cell(cells["backbone"])
            if not may_be_named(structure):
                raise _elsewhere(cells["backbone"])
        except BadFile as problem:
            found.append(refuse(place, problem))
            continue
        found += _targets(place, structure, wanted, defaults, limits)
    if not found:
        raise BadFile("no_records", "The table has no rows below its header.", "Add one row a backbone.")
    return found


def _elsewhere(cell: str) -> BadFile:
    return BadFile(
        "no_backbones",
        f"The cell backbone is {shown(cell, 60)!r}, which is not among the files that were sent.",
        "Send the structure with the sheet, and name it relative to the sheet.",
    )


def _check_cell(cell: str) -> None:
    if not cell or suffix_of(Path(cell)) not in STRUCTURES:
        raise BadFile(
            "no_backbones",
            f"The cell backbone is {shown(cell, 60)!r}.",
            f"Expected is the path of a structure ({' '.join(STRUCTURES)}), relative to the sheet.",
        )


def _targets(
    place: Place, path: Path, wanted: Wanted, defaults: Defaults, limits: Limits
) -> list[Target | Refusal]:
    """A target for each share of conserved positions."""
    # A run without backbones needs no coordinates.
    from snakefold.molecules.backbones import BadBackboneError, format_of, read_backbone

    try:
        data = _bytes_of(path)
        chains = read_backbone(data)
        limits.check(sum(map(len, chains)))
        form = format_of(data)
        shares = list(dict.fromkeys(defaults.conserved))
        designs = [make_design(chains, data, form, replace(wanted, conserved=share)) for share in shares]
    except BadBackboneError as error:
        advice = "Give a structure with a protein's backbone in PDB or mmCIF format."
        return [refuse(place, BadFile("backbone", f"{path.name}: {error}.", advice))]
    except TargetError as error:
        return [refuse(place, BadFile("design", error.message, error.advice))]
    except (BadFile, BadSequence) as problem:
        return [refuse(place, problem)]
    name = safe_id(place.header, f"record-{place.record}")
    note = _note(chains)
    return [
        Target(
            id=name if len(designs) == 1 else f"{name[:90]}_c{round(100 * design.conserved):02d}",
            header=place.header,
            chains=tuple(chain.sequence for chain in chains),
            file=shown(str(place.file), None),
            record=place.record,
            line=place.line,
            note=note,
            backbone=design,
            files=((design.structure, path),),
        )
        for design in designs
    ]


def _note(chains: Sequence[BackboneChain]) -> str:
    """What of the chains is folded as something else than the file may be thought to have."""
    notes = []
    for chain in chains:
        gaps = sum(not number for number in chain.numbers)
        unknown = sum(
            letter == "X" and bool(number)
            for letter, number in zip(chain.sequence, chain.numbers, strict=True)
        )
        if gaps:
            notes.append(f"chain {shown(chain.name, 20)}: {count(gaps, 'gap')} left out of what is folded")
        if unknown:
            notes.append(f"chain {shown(chain.name, 20)}: {count(unknown, 'residue')} of an unknown kind (X)")
    return "; ".join(notes)


def structure_bytes(path: Path) -> bytes:
    """A structure, unpacked if it is `.gz`.

    Raises:
        OSError: it cannot be read. ValueError: it is damaged, or larger than is taken.
    """
    with path.open("rb") as stream:
        return unpacked(stream)


def unpacked(stream: BinaryIO) -> bytes:
    """What a stream has, unpacked if it is gzip's.

    Raises:
        ValueError: it is damaged, or larger than is taken.
    """
    packed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    if packed:
        try:
            with gzip.open(stream) as inside:
                data = inside.read(_MOST + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"the gzip file is damaged ({error})") from error
    else:
        data = stream.read(_MOST + 1)
    if len(data) > _MOST:
        raise ValueError(f"it has more than {_MOST >> 20} MB")
    return data


def _bytes_of(path: Path) -> bytes:
    try:
        return structure_bytes(path)
    except OSError as error:
        told = error.strerror or str(error)
        raise BadFile("unreadable", f"{shown(str(path), 80)}: {told}.", "Check the path.") from error
    except ValueError as error:
        raise BadFile("unreadable", f"{path.name}: {error}.", "Copy the file again.") from error


def _rows(path: Path) -> Iterator[tuple[int, int, dict[str, str]]]:
    """Number, line and cells of every row of a sheet.

    Raises:
        BadFile: it has no such columns.
    """
    rows = rows_of(read_lines(path))
    expected = "Columns are id, backbone, and where wanted chains, fixed_positions, homooligomer."
    line, header = next(rows, (1, []))
    names = [cell.strip().lower() for cell in header]
    if not {"id", "backbone"} <= set(names):
        raise BadFile("no_columns", f"The columns are {shown(','.join(header), 80)!r}.", expected, line)
    for name in names:
        if name not in _COLUMNS:
            raise BadFile("no_columns", f"The column {shown(name, 40)!r} is not known.", expected, line)
    if len(set(names)) < len(names):
        raise BadFile("no_columns", "A column is there twice.", expected, line)
    for number, (at, row) in enumerate(rows, 1):
        cells = dict.fromkeys(_COLUMNS, "") | {
            name: cell.strip() for name, cell in zip(names, row, strict=False)
        }
        yield number, at, cells


def _wanted(cells: Mapping[str, str], defaults: Defaults) -> Wanted:
    given = cells["homooligomer"].lower()
    if given not in _YES | _NO:
        raise BadFile("type", f"homooligomer is {shown(given, 20)!r}.", "Expected is yes or no.")
    return Wanted(
        chains=cells["chains"] or defaults.chains,
        fixed=read_positions(cells["fixed_positions"]),
        homooligomer=given in _YES or (not given and defaults.homooligomer),
    )


def read_positions(text: str) -> dict[str, list[Position]]:
    """Positions by chain of a text such as `A:1 2 5-10; B:52A @60`.

    Raises:
        BadFile: it is none.
    """
    found: dict[str, list[Position]] = {}
    for part in filter(None, (each.strip() for each in text.split(";"))):
        name, colon, listed = part.partition(":")
        if not colon or not name.strip():
            raise BadFile(
                "positions",
                f"fixed_positions: {shown(part, 40)!r} names no chain.",
                "Expected is CHAIN:POSITIONS, several separated by ';', such as A:1 2 5-10; B:52A.",
            )
        positions = found.setdefault(name.strip(), [])
        for each in listed.replace(",", " ").split():
            positions += _positions(each)
    return found


def _positions(text: str) -> list[Position]:
    if span := _RANGE.fullmatch(text):
        first, last = map(int, span.groups())
        if first <= last:
            return list(range(first, last + 1))
    elif _NUMBERED.fullmatch(text):
        return [text.removeprefix("@")] if text[0] == "@" or text[-1].isalpha() else [int(text)]
    raise BadFile(
        "positions",
        f"fixed_positions: {shown(text, 40)!r} is no position.",
        "Expected are numbers (1), ranges (5-10), and residue numbers of the file (52A, @60).",
    )
