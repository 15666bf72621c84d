"""Files of other programs as records: plain proteins are targets, all else is for the engine to take."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from snakefold.kernel.errors import Refusal
from snakefold.kernel.names import safe_id, shown
from snakefold.molecules import chemistry
from snakefold.molecules.accepts import Verdict
from snakefold.molecules.entities import Assembly
from snakefold.molecules.foreign import recognised
from snakefold.molecules.lines import BadFile, check_text, read_text
from snakefold.molecules.own_msa import Named, resolve
from snakefold.molecules.own_templates import resolve_templates
from snakefold.molecules.readers import alphafold3, boltz
from snakefold.molecules.readers.common import Found, Unread
from snakefold.molecules.readers.document import MAX_JSON, MAX_YAML
from snakefold.molecules.sequences import BadSequence
from snakefold.molecules.target import Limits, Place, Target, make_target, refuse

#: Lines of a list of names: each is a refusal.
MAX_NAMES = 100_000

#: Says why an assembly is not predicted; None if it can be.
Judge = Callable[[Assembly], Verdict | None]


@dataclass(frozen=True, slots=True)
class Molecules:
    """A record that is more than proteins: whether it can be predicted is for the engine to say."""

    place: Place
    assembly: Assembly
    note: str = ""
    lines: tuple[int, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    limits: Limits | None = None
    engine: str = ""
    template_lines: tuple[int, ...] = ()


def judged(record: Molecules, judge: Judge, *, own_files: bool = True) -> Target | Refusal:
    """A target, or the refusal of a record in the words of whoever judges.

    Args:
        own_files: see `targets.read_records`.
    """
    # An engine that the record names is asked where targets are given to engines.
    verdict = None if record.engine else judge(record.assembly)
    if verdict is not None:
        line = record.template_lines[0] if verdict.templates and record.template_lines else None
        return refuse(record.place, BadFile("molecules", verdict.message, verdict.advice), line)
    place = record.place
    try:
        if record.limits is not None:
            limits = record.limits if _proteins_alone(record.assembly) else record.limits.of_assemblies
            limits.check(record.assembly.residues)
        chemistry.check(record.assembly, record.lines)
        named = Named(place.file, record.lines, record.texts, own_files, record.template_lines)
        assembly, alignments = resolve(record.assembly, named)
        assembly, templates = resolve_templates(assembly, named)
    except BadSequence as problem:
        return refuse(place, problem)
    except BadFile as problem:
        return refuse(place, problem, problem.line or None)
    return Target(
        id=safe_id(place.header, f"record-{place.record}"),
        header=place.header,
        chains=(),
        file=shown(str(place.file), None),
        record=place.record,
        line=place.line,
        note="; ".join(part for part in (record.note, _renamed(assembly), _brought(record.assembly)) if part),
        engine=record.engine,
        assembly=assembly,
        files=alignments + templates,
    )


def _proteins_alone(assembly: Assembly) -> bool:
    """Whether an assembly is plain proteins, with alignments and structures that they bring or without."""
    without = [each.model_copy(update={"msa": None, "paired_msa": None}) for each in assembly.entities]
    bare = {"entities": tuple(without), "templates": (), "initial_guess": None}
    return assembly.model_copy(update=bare).plain_chains is not None


def _brought(assembly: Assembly) -> str:
    """What is said of structures: their names, which a key does not know."""
    named = {"templates": [each.file for each in assembly.templates]}
    named["initial guess"] = [] if assembly.initial_guess is None else [assembly.initial_guess.file]
    said: list[str] = []
    for what, files in named.items():
        names = [shown(each.removeprefix("file:"), 60) for each in files]
        said += [f"{what}: {', '.join(names)}"] if names else []
    return "; ".join(said)


def _renamed(assembly: Assembly) -> str:
    """What is said of chains that have other names in the results: A, B, … in their order.

    A key knows no names, so that results are shared by all who ask for the same molecules.
    """
    names = [name for name, _ in assembly.chains()]
    if len(names) > len(string.ascii_uppercase):
        return ""
    pairs = zip(names, string.ascii_uppercase, strict=False)
    other = [f"{name} is {ours}" for name, ours in pairs if name != ours]
    return f"chains in the results: {', '.join(other)}" if other else ""


def record_of(path: Path, found: Found | Unread, limits: Limits) -> Target | Molecules | Refusal:
    """A reader's find as a record: the target that FASTA would give for it, if it is plain protein."""
    place = Place(path, found.record, found.line, found.name)
    if isinstance(found, Unread):
        return refuse(place, found.problem, found.problem.line or None)
    chains = found.assembly.plain_chains
    if chains is None:
        return Molecules(
            place,
            found.assembly,
            found.note,
            found.lines,
            found.texts,
            limits,
            template_lines=found.template_lines,
        )
    target = make_target(place, found.name, ":".join(chains), limits)
    if isinstance(target, Refusal):
        return target
    return replace(target, note="; ".join(part for part in (target.note, found.note) if part))


def read_json(path: Path, limits: Limits) -> Iterator[Target | Molecules | Refusal]:
    """Records of an AlphaFold 3 or AlphaFold Server JSON.

    Raises:
        BadFile: it is none.
    """
    for found in alphafold3.read(read_text(path, MAX_JSON), stem(path)):
        yield record_of(path, found, limits)


def read_yaml(path: Path, limits: Limits) -> Iterator[Target | Molecules | Refusal]:
    """The record of a Boltz YAML.

    Raises:
        BadFile: it is none.
    """
    text = read_text(path, MAX_YAML)
    try:
        found: Found | Unread = boltz.read(text, stem(path))
    except BadFile as problem:
        if problem.code in {"yaml", "unknown_kind"}:
            raise
        found = Unread(stem(path), 1, problem.line or 1, problem)
    yield record_of(path, found, limits)


def read_names(path: Path, lines: Iterable[str], _: Limits) -> Iterator[Refusal]:
    """A refusal for every line of a list of accessions, PDB codes or SMILES.

    Raises:
        BadFile: there are too many.
    """
    number = 0
    for line, text in enumerate(lines, 1):
        if not text.strip() or text.startswith("#"):
            continue
        number += 1
        if number > MAX_NAMES:
            raise BadFile("too_many_records", f"More than {MAX_NAMES} lines.", "Give sequences.", line)
        place = Place(path, number, line, text.strip())
        try:
            check_text(text)
        except BadFile as problem:
            yield refuse(place, problem)
            continue
        found = recognised(text) or recognised(text.split()[0])
        if found is None:
            nothing = BadSequence("no_sequence", "This is neither a sequence nor a name.", "Give FASTA.")
            yield refuse(place, nothing)
        else:
            yield refuse(place, BadSequence(found.code, found.message, found.advice))


def stem(path: Path) -> str:
    """A file's name without its endings."""
    name = path.name
    if name.lower().endswith(".gz"):
        name = name[:-3]
    return Path(name).stem
