"""Ligands of a screen, and the target that each makes with the receptor.

- **SMILES** (`.smi`, `.smiles`, `.txt`): `SMILES name` a line; `#` begins a comment, a line of headings is
  passed over.
- **SDF** (`.sdf`, `.sd`, `.mol`): the molecules in it as RDKit's SMILES, called as their first lines say.
- **table** (`.csv`, `.tsv`): a column `smiles` or `ccd`, and `id` or `name`.

Each may be gzip-compressed. A ligand without a name is called `ligand-<its number>`. A bad one is refused
alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from snakefold.kernel.errors import Refusal
from snakefold.kernel.names import safe_id, shown, unique_ids
from snakefold.molecules import chemistry
from snakefold.molecules.complexes import bound, ligand, proteins_of
from snakefold.molecules.entities import Assembly
from snakefold.molecules.lines import BadFile, check_text, read_lines
from snakefold.molecules.samplesheet import rows_of
from snakefold.molecules.target import Place, Target, refuse, refuse_file

#: Lines of a molecule in an SDF at the most.
_MOST_LINES = 100_000
_HEADINGS = {"smiles", "smi", "canonical_smiles", "isomeric_smiles"}
_SMILES, _CCD, _NAME = ("smiles", "ligand_smiles"), ("ccd", "ligand_ccd"), ("id", "name", "ligand_id")


@dataclass(frozen=True, slots=True)
class _Found:
    """A ligand as it is found: what it calls itself, and a SMILES or a code."""

    name: str
    line: int
    smiles: str = ""
    ccd: str = ""


def screened(receptor: Target, path: Path, *, affinity: bool) -> list[Target | Refusal]:
    """A target for each ligand of a file, with the receptor; ids are the ligands' names.

    Args:
        affinity: each ligand's is wanted.
    """
    try:
        base = _base(receptor)
        found = list(_read(path))
    except BadFile as problem:
        return [refuse_file(path, problem)]
    if not found:
        none = BadFile("no_records", "The file has no ligands.", "Add one a line, or one a molecule.")
        return [refuse_file(path, none)]
    rows: list[Target | Refusal] = []
    for number, each in enumerate(found, 1):
        if isinstance(each, Refusal):
            rows.append(each)
            continue
        place = Place(path, number, each.line, each.name)
        try:
            assembly = bound(base, [ligand(each.smiles, each.ccd, each.line)], affinity=affinity)
        except BadFile as problem:
            rows.append(refuse(place, problem))
            continue
        rows.append(
            replace(
                receptor,
                id=safe_id(each.name, f"ligand-{number}"),
                header=each.name,
                chains=(),
                file=shown(str(path), None),
                record=number,
                line=each.line,
                msa=None,
                msa_sha256=None,
                assembly=assembly,
                files=_files(receptor),
            )
        )
    ids = iter(unique_ids(row.id for row in rows if isinstance(row, Target)))
    return [replace(row, id=next(ids)) if isinstance(row, Target) else row for row in rows]


def _base(receptor: Target) -> Assembly:
    if receptor.assembly is not None:
        if receptor.assembly.affinity is not None:
            raise BadFile(
                "affinity",
                f"The receptor {receptor.id!r} asks for an affinity of its own.",
                "Take it out of the receptor: screen.affinity asks for that of each ligand.",
            )
        return receptor.assembly
    entities = proteins_of(receptor.chains)
    if receptor.msa is not None:
        if len(entities) > 1:
            raise BadFile(
                "msa",
                f"The receptor {receptor.id!r} is an A3M of several chains.",
                "Give a Boltz YAML that names an alignment for each of them.",
            )
        entities = [entities[0].model_copy(update={"msa": f"sha256:{receptor.msa_sha256}"})]
    return Assembly(entities=tuple(entities))


def _files(receptor: Target) -> tuple[tuple[str, Path], ...]:
    if receptor.msa is None or receptor.msa_sha256 is None:
        return receptor.files
    return ((receptor.msa_sha256, receptor.msa),)


def _read(path: Path) -> Iterator[_Found | Refusal]:
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if not path.is_file():
        raise BadFile("missing", "no such file.", "Check the path given as `screen.ligands`.")
    if suffix in {".sdf", ".sd", ".mol"}:
        return _of_sdf(path)
    if suffix in {".csv", ".tsv"}:
        return _of_table(path)
    if suffix in {".smi", ".smiles", ".txt"}:
        return _of_smiles(path)
    raise BadFile(
        "unknown_kind",
        "The name of the file has no ending that is known.",
        "Known are .smi .smiles .txt .sdf .sd .mol .csv .tsv (or these with .gz).",
    )


def _of_smiles(path: Path) -> Iterator[_Found]:
    for number, line in enumerate(read_lines(path), 1):
        check_text(line)
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#") or (words[0].lower() in _HEADINGS):
            continue
        yield _Found(words[1].strip() if len(words) > 1 else "", number, smiles=words[0])


def _of_table(path: Path) -> Iterator[_Found | Refusal]:
    rows = rows_of(read_lines(path))
    line, header = next(rows, (1, []))
    names = [cell.strip().lower() for cell in header]

    def place(known: Sequence[str]) -> int | None:
        return next((names.index(name) for name in known if name in names), None)

    smiles, ccd, called = place(_SMILES), place(_CCD), place(_NAME)
    if smiles is None and ccd is None:
        raise BadFile(
            "no_columns",
            f"The columns are {shown(','.join(header), 60)!r}.",
            "The first line must name a column smiles or ccd, and id or name.",
            line,
        )
    for number, (at, row) in enumerate(rows, 1):
        if len(row) != len(names):
            problem = BadFile(
                "columns", f"The row has {len(row)} cells, the header {len(names)}.", "Correct it."
            )
            yield refuse(Place(path, number, at, ""), problem)
            continue
        cells = [row[each].strip() if each is not None else "" for each in (called, smiles, ccd)]
        check_text("".join(cells))
        yield _Found(cells[0], at, smiles=cells[1], ccd=cells[2])


def _of_sdf(path: Path) -> Iterator[_Found | Refusal]:
    block: list[str] = []
    number, start = 0, 1
    for at, line in enumerate(read_lines(path), 1):
        if line.startswith("$$$$"):
            number += 1
            yield _of_block(path, block, number, start)
            block, start = [], at + 1
        elif len(block) < _MOST_LINES:
            block.append(line)
    if any(line.strip() for line in block):
        yield _of_block(path, block, number + 1, start)


def _of_block(path: Path, block: Sequence[str], number: int, line: int) -> _Found | Refusal:
    name = block[0].strip() if block else ""
    try:
        check_text("\n".join(block[:1]))
        return _Found(name, line, smiles=chemistry.smiles_of_block("\n".join(block)))
    except BadFile as problem:
        return refuse(Place(path, number, line, name), problem)
