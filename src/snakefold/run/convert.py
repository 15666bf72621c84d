"""Inputs in other programs' formats, with the alignments that they bring or that a store has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snakefold.kernel import archive
from snakefold.kernel.errors import Refusal, SnakefoldError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, Store, write_atomically
from snakefold.kernel.wording import listed
from snakefold.molecules import own_msa, own_templates
from snakefold.molecules.complexes import proteins_of
from snakefold.molecules.entities import NO_ALIGNMENT, Assembly, Kind
from snakefold.molecules.lines import BadFile
from snakefold.molecules.targets import Target, msa_text, read_records
from snakefold.molecules.writers import alphafold3, boltz, chai
from snakefold.molecules.writers.common import Alignment, Beside, Unsayable


@dataclass(frozen=True)
class Format:
    """A format: ending of its files, whether they have alignments, and whether as files of their own."""

    suffix: str
    write: Callable[[Assembly, str, Beside], str]
    aligns: bool = True
    names_files: bool = False


FORMATS = {
    "boltz": Format(".yaml", boltz.write, names_files=True),
    "alphafold3": Format(".json", alphafold3.write),
    "chai": Format(".fasta", chai.write, aligns=False),
}
_BY_SUFFIX = {".yaml": "boltz", ".yml": "boltz", ".json": "alphafold3", ".fasta": "chai", ".fa": "chai"}
#: Residues of a target: as large as any format holds.
_LONGEST = 1 << 20


@dataclass
class Converted:
    """What became of an input: files written, records not read, targets that the format cannot say."""

    written: list[Path] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    unsayable: list[str] = field(default_factory=list)
    aligned: int = 0


def format_of(out: Path, name: str | None) -> str:
    """The format to write: as named, or as the ending of `out` says.

    Raises:
        SnakefoldError: neither says it.
    """
    found = name or _BY_SUFFIX.get(out.suffix.lower())
    if found is None:
        endings = ", ".join(f"{form.suffix} ({name})" for name, form in FORMATS.items())
        raise SnakefoldError(f"{out}: no format has this ending. Name it with --to, or end in {endings}.")
    return found


def convert(
    inputs: Sequence[Path], out: Path, form: str, *, store: Store | None = None, recipe: str | None = None
) -> Converted:
    """Write the targets of some inputs in another format.

    Args:
        out: a file, for one target; else a folder, with a file for each.
        form: of `FORMATS`.
        store: where alignments are looked up of proteins that bring none.
        recipe: which of the store's searches are taken; None: there is only one.

    Raises:
        SnakefoldError: there is no target, a file exists, or the store has several searches of a sequence.
    """
    chosen = FORMATS[form]
    records = read_records(inputs, min_length=1, max_length=_LONGEST, judge=lambda _: None)
    done = Converted(refused=[each for each in records if isinstance(each, Refusal)])
    targets = [each for each in records if isinstance(each, Target)]
    if not targets:
        raise SnakefoldError("\n".join(["There is nothing to convert.", *map(str, done.refused)]))
    single = out.suffix.lower() in _BY_SUFFIX
    if single and len(targets) > 1:
        raise SnakefoldError(
            f"{out}: is one file, and the input has {len(targets)} targets. Name a folder, and --to FORMAT."
        )
    files = [(target, out if single else out / f"{target.id}{chosen.suffix}") for target in targets]
    if there := next((file for _, file in files if file.exists()), None):
        raise SnakefoldError(f"{there}: is there already. Remove it, or choose another name.")
    searched = Searches(store, recipe, {each for target in targets for each in target.searched})
    for target, file in files:
        assembly = assembly_of(target)
        alignments = {**_own_alignments(target, assembly), **searched.of(target)}
        folder = file.with_name(f"{file.stem}_files")
        named = _named_files(target, assembly, alignments)
        paths = {name: f"{folder.name}/{called}" for name, (called, _) in named.items()}
        try:
            text = chosen.write(assembly, target.header or target.id, Beside(alignments, paths))
        except Unsayable as error:
            done.unsayable.append(f"{target.file}:{target.line} ({target.id}): {error}")
            continue
        if chosen.names_files:
            for called, content in named.values():
                write_atomically(folder / called, content)
        write_atomically(file, text.encode())
        done.written.append(file)
        done.aligned += bool(alignments) and chosen.aligns
    return done


def assembly_of(target: Target) -> Assembly:
    """A target as an assembly; an A3M that it brings is its protein's.

    Raises:
        SnakefoldError: it brings an A3M of several different chains, which no format names.
    """
    if target.assembly is not None:
        return target.assembly
    proteins = proteins_of(target.chains)
    if target.msa is not None:
        if len(proteins) > 1:
            raise SnakefoldError(
                f"{target.file}: an A3M of several chains is not taken apart. Give one for each chain."
            )
        proteins = [proteins[0].model_copy(update={"msa": f"sha256:{target.msa_sha256}"})]
    return Assembly(entities=tuple(proteins))


class Searches:
    """Alignments of one recipe in a store, by sequence."""

    def __init__(self, store: Store | None, recipe: str | None, sequences: set[str]) -> None:
        """Raises SnakefoldError if the store has these sequences by several recipes and none is chosen."""
        self._store, self._recipe = store, recipe
        if store is None or recipe is not None or not sequences:
            return
        keys = {sequence_key([sequence]) for sequence in sequences}
        recipes = {each.entry.recipe for each in store.listing("msa") if each.entry.key in keys}
        if len(recipes) > 1:
            raise SnakefoldError(
                f"{store.location}: has alignments of these sequences by {len(recipes)} recipes: "
                f"{listed(sorted(recipes))}. Choose one by --recipe; results/plan/batches/*.json of a "
                "run has its own (msa_recipes)."
            )
        self._recipe = next(iter(recipes), None)

    def of(self, target: Target) -> dict[str, Alignment]:
        """What the store has of a target's proteins."""
        if self._store is None or self._recipe is None:
            return {}
        found = {}
        for sequence in dict.fromkeys(target.searched):
            data = self._store.get(Entry("msa", self._recipe, sequence_key([sequence])))
            if data is not None:
                files = archive.unpack(data)
                pairing = files.get("pairing.a3m", b"") if len(target.pairable) > 1 else b""
                found[sequence] = Alignment(files["msa.a3m"].decode(), pairing.decode())
        return found


def _own_alignments(target: Target, assembly: Assembly) -> dict[str, Alignment]:
    """The alignments that entities bring, by what they say."""
    files: Mapping[str, Path] = dict(target.files)
    found = {}
    for entity in assembly.entities:
        for said in (entity.msa, entity.paired_msa):
            if said is None or said == NO_ALIGNMENT or entity.kind is not Kind.PROTEIN:
                continue
            name = said.removeprefix("sha256:")
            text = msa_text(target.msa) if target.msa else _own_text(files[name], name, entity.sequence)
            rows = own_msa.rows_of(text)
            found[said] = Alignment(rows.a3m, keys=rows.keys)
    return found


def _own_text(path: Path, name: str, sequence: str) -> str:
    try:
        text = own_msa.own_text(path, name, [sequence])
    except BadFile as error:
        raise SnakefoldError(f"{path}: {error}") from error
    if text is None:
        raise SnakefoldError(f"{path}: changed while it was read. Convert again.")
    return text


def _named_files(
    target: Target, assembly: Assembly, alignments: Mapping[str, Alignment]
) -> dict[str, tuple[str, bytes]]:
    """Files that a format may name: what they are called and hold, by what the assembly says."""
    found: dict[str, tuple[str, bytes]] = {}
    for number, (said, alignment) in enumerate(alignments.items(), 1):
        if alignment.keys is None:
            found[said] = f"msa_{number}.a3m", alignment.a3m.encode()
        else:
            found[said] = f"msa_{number}.csv", "".join(_csv(alignment)).encode()
    files = dict(target.files)
    for number, template in enumerate(assembly.templates, 1):
        name = template.file.removeprefix("sha256:")
        try:
            data = own_templates.template_bytes(files[name], name)
        except ValueError as error:
            raise SnakefoldError(f"{files[name]}: {error}") from error
        if data is None:
            raise SnakefoldError(f"{files[name]}: changed while it was read. Convert again.")
        found[template.file] = f"template_{number}.{template.form}", data
    return found


def _csv(alignment: Alignment) -> Iterator[str]:
    yield f"{own_msa.CSV_HEADER}\n"
    rows = alignment.a3m.splitlines()[1::2]
    for key, row in zip(alignment.keys or (), rows, strict=True):
        yield f"{'' if key is None else key},{row}\n"
