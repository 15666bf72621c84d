"""A checked target, and how one record becomes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel.errors import Refusal
from snakefold.kernel.names import safe_id, shown
from snakefold.kernel.recipes import sequence_key
from snakefold.molecules.entities import Assembly
from snakefold.molecules.lines import BadFile, undecodable
from snakefold.molecules.sequences import NUL_ADVICE, BadSequence, clean_chains


@dataclass(frozen=True, slots=True)
class Target:
    """One structure to predict, as a record of the input asks for it.

    Attributes:
        id: safe as a file name; unique among the targets that were read together.
        header: what the record calls itself, untouched: never use it as a name or print it unescaped.
        chains: sequences in the letters of `contracts.Sequence`.
        file, record, line: where it is from; record and line are 1-based, the line is the header's.
        msa: the A3M that the target brings, to be read by `snakefold.molecules.targets.msa_text` only.
        msa_sha256: sha256 of that text.
        note: what was changed in the sequence, for the user to see; empty if nothing.
        engine: what folds it, if the input says so; empty: what the configuration says.
        assembly: what it is, if it is more than chains of plain protein; `chains` are empty then.
        files: of the alignments and templates that the assembly brings, by the sha256 of their content
            (`molecules.own_msa`, `molecules.own_templates`).
    """

    id: str
    header: str
    chains: tuple[str, ...]
    file: str
    record: int
    line: int
    msa: Path | None = None
    msa_sha256: str | None = None
    note: str = ""
    engine: str = ""
    assembly: Assembly | None = None
    files: tuple[tuple[str, Path], ...] = ()

    @property
    def searched(self) -> tuple[str, ...]:
        """As `contracts.TargetInput.searched`."""
        if self.msa is not None:
            return ()
        return self.chains if self.assembly is None else self.assembly.searched

    @property
    def pairable(self) -> tuple[str, ...]:
        """As `contracts.TargetInput.pairable`."""
        if self.assembly is None:
            return tuple(dict.fromkeys(self.searched))
        return self.assembly.pairable

    @property
    def copies(self) -> int:
        """Chains; of an assembly ligands and ions count as well."""
        if self.assembly is None:
            return len(self.chains)
        return sum(entity.copies for entity in self.assembly.entities)

    @property
    def length(self) -> int:
        """Residues of all chains."""
        return sum(map(len, self.chains)) if self.assembly is None else self.assembly.residues

    @property
    def key(self) -> str:
        """sha256 of the sequences, or of the assembly."""
        return sequence_key(self.chains) if self.assembly is None else self.assembly.key


@dataclass(frozen=True, slots=True)
class Limits:
    """Lengths of a target that are accepted, residues of all polymer chains, both ends included.

    The smallest is asked of proteins alone: a peptide with its ligand, or modified, is meant to be short.
    """

    min_length: int
    max_length: int

    @property
    def of_assemblies(self) -> Limits:
        """Those of what is more than plain proteins, in whatever form it is given."""
        return Limits(0, self.max_length)

    def check(self, length: int) -> None:
        """Raises BadSequence for a length out of bounds."""
        if length < self.min_length:
            raise BadSequence(
                "too_short",
                f"The target has {length} residue{'s' if length != 1 else ''}, fewer than min_length "
                f"{self.min_length}.",
                "Leave it out or lower min_length.",
            )
        if length > self.max_length:
            raise BadSequence(
                "too_long",
                f"The target has {length} residues, more than max_length {self.max_length}.",
                "Split it into domains or raise max_length.",
            )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands."""

    file: Path
    record: int
    line: int
    header: str


def refuse(place: Place, problem: BadSequence | BadFile, line: int | None = None) -> Refusal:
    """The refusal of a record, at `line` or at its header."""
    return Refusal(
        file=shown(str(place.file), None),
        record=place.record,
        line=place.line if line is None else line,
        header=shown(place.header),
        code=problem.code,
        message=problem.message,
        advice=problem.advice,
    )


def refuse_file(path: Path, problem: BadFile) -> Refusal:
    """The refusal of a whole file."""
    return refuse(Place(path, 0, problem.line, ""), problem)


def make_target(
    place: Place, name: str, text: str, limits: Limits, line_of: Callable[[int], int] | None = None
) -> Target | Refusal:
    """Target of a record called `name` whose sequence is `text`, as found.

    `line_of` gives the line of an index into `text`, if the record has more than its header's line.
    """
    try:
        check_encoding(place.header)
        _check_nul(place.header)
        chains, note = clean_chains(text)
        limits.check(sum(map(len, chains)))
    except BadSequence as problem:
        at = None if line_of is None or problem.position is None else line_of(problem.position)
        return refuse(place, problem, at)
    return Target(
        id=safe_id(name, f"record-{place.record}"),
        header=place.header,
        chains=chains,
        file=shown(str(place.file), None),
        record=place.record,
        line=place.line,
        note=note,
    )


def _check_nul(header: str) -> None:
    if "\0" in header:
        raise BadSequence("nul", "A NUL byte is in the header.", NUL_ADVICE)


def check_encoding(text: str) -> None:
    """Raises BadSequence if `text` was not UTF-8."""
    if (offset := undecodable(text)) is not None:
        raise BadSequence(
            "encoding",
            f"Byte {offset} of the text is not UTF-8.",
            "Save the file as UTF-8, for example with `iconv -f latin1 -t utf-8`.",
        )
