"""The flat form of the AlphaFold2 endpoint: sequences in, AlphaFold's files out, alignments in between."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from snakefold.engines.alphafold2.settings import ModelPreset
from snakefold.kernel.contracts import Model, RelaxChoice
from snakefold.kernel.envelope import Response, Result, Sink, Url, exactly_one
from snakefold.kernel.errors import Reason

_TRUE, _FALSE = ("true", "t", "1", "yes", "y"), ("false", "f", "0", "no", "n")


@dataclass(frozen=True)
class Flag:
    """A flag of AlphaFold: what it means here, and how its text becomes a value."""

    meaning: str
    read: Callable[[str], Any]
    boolean: bool = False


def _boolean(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError("expected true or false")
    return text.lower() in _TRUE


def _integer(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(text)

    return read


def _relax(text: str) -> RelaxChoice:
    try:
        return RelaxChoice(text.lower())
    except ValueError as error:
        raise ValueError(f"expected one of {', '.join(RelaxChoice)}") from error


#: What may be passed. AlphaFold's paths, databases and presets are not among them: the worker knows its own,
#: and what a caller may choose has a key.
ALLOWED: dict[str, Flag] = {
    "models_to_relax": Flag("none, best or all (AlphaFold's default: best)", _relax),
    "use_gpu_relax": Flag("relax on the GPU (default: where OpenMM finds one)", _boolean, boolean=True),
    "num_multimer_predictions_per_model": Flag("1 to 100 (AlphaFold's default: 5)", _integer(1, 100)),
    "random_seed": Flag("first seed (default: 0; AlphaFold draws one)", _integer(0, 2**31 - 1)),
}


def read_flags(flags: Sequence[str]) -> dict[str, Any]:
    """Values by name; of a flag given twice the last counts, as in AlphaFold.

    Forms are absl's: `--name=value`, `--name value` (two items), `--name` and `--noname` for true and false.

    Raises:
        ValueError: a flag that is not allowed, by name, or a value that it cannot have.
    """
    values: dict[str, Any] = {}
    rest = iter(flags)
    for item in rest:
        name, text = _parted(item, rest)
        try:
            values[name] = ALLOWED[name].read(text)
        except ValueError as error:
            raise ValueError(f"--{name}: {error}") from error
    return values


def _parted(item: str, rest: Iterator[str]) -> tuple[str, str]:
    name, equals, text = item.removeprefix("-").removeprefix("-").partition("=")
    if not item.startswith("-") or not name:
        raise ValueError(f"{item[:60]!r} is no flag: expected --name=value")
    negated = name.removeprefix("no")
    if not equals and name not in ALLOWED and negated in ALLOWED and ALLOWED[negated].boolean:
        return negated, "false"
    if name not in ALLOWED:
        near = difflib.get_close_matches(name, ALLOWED, n=1, cutoff=0.6)
        hint = f"did you mean --{near[0]}?" if near else f"allowed are {', '.join(f'--{n}' for n in ALLOWED)}"
        raise ValueError(f"--{name[:60]} is not allowed; {hint}")
    if equals:
        return name, text
    if ALLOWED[name].boolean:
        return name, "true"
    value = next(rest, None)
    if value is None:
        raise ValueError(f"--{name} has no value")
    return name, value


_LONGEST_TEXT = 8 << 20
SINGLE_SEQUENCE = "single_sequence"


def _flags(flags: list[str]) -> list[str]:
    read_flags(flags)
    return flags


def _date(text: str) -> str:
    datetime.date.fromisoformat(text)
    return text


def _safe_address(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError("only https addresses are fetched")
    return url


Flags = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=50), AfterValidator(_flags)]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_date)]
Text = Annotated[str, Field(min_length=1, max_length=_LONGEST_TEXT)]


class FlatRequest(Model):
    """One structure or several. Exactly one of `sequence`, `fasta` and `fasta_url` is given."""

    model_config = exactly_one("sequence", "fasta", "fasta_url")

    sequence: Text | None = Field(None, description="One target; `:` separates chains.")
    fasta: Text | None = Field(None, description="FASTA text, one target per record; `:` separates chains.")
    fasta_url: Annotated[Url, AfterValidator(_safe_address)] | None = Field(
        None, description="https address of a FASTA file (public, at most 8 MB).", repr=False
    )
    model_preset: ModelPreset = Field(ModelPreset.AUTO, description="AlphaFold's --model_preset, or auto.")
    db_preset: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")] | None = Field(
        None,
        description="full_dbs, reduced_dbs, colabfold, demo, or single_sequence (no search). Empty: the "
        "first of these that the worker has; the answer says which.",
    )
    max_template_date: Date = Field(
        "2100-01-01",
        description="Templates released after this date are not used. A worker without template databases "
        "uses none.",
    )
    alphafold_extra_flags: Flags = Field([], description="AlphaFold flags from the list below.")
    rehearsal: bool = Field(
        False, description="Random parameters: every step runs, and the structures mean nothing."
    )
    results: Sink | list[Sink] = Field(
        Sink(inline=True), description="Where archives go: one sink, or one per target, in order."
    )

    @model_validator(mode="after")
    def _one_source(self) -> FlatRequest:
        if sum(item is not None for item in (self.sequence, self.fasta, self.fasta_url)) != 1:
            raise ValueError("expected exactly one of sequence, fasta and fasta_url")
        if self.sequence is not None and ">" in self.sequence:
            raise ValueError("sequence has a '>' in it: send FASTA text as `fasta`")
        return self


class Archive(Result):
    """A target's tar.gz: `ranked_0.cif`, `ranking_debug.json` and the other files of the target."""

    name: str = Field(description="A file name, `<id>.tar.gz`.")
    id: str = Field(description="Id of the target, from its FASTA header.")
    rehearsal: bool = Field(description="Random parameters: the structure means nothing.")


class FailedTarget(Model):
    """A target without a structure."""

    id: str = Field(description="Id of the target, from its FASTA header.")
    reason: Reason = Field(description="Reason code.")
    message: str = Field(description="For people.")
    advice: str = Field("", description="What to do.")


class FlatResponse(Response):
    """Answer to the flat form. `archive` if one target was asked for, `archives` if several were."""

    archive: Archive | None = Field(None, description="The archive, if the request has one target.")
    archives: list[Archive] | None = Field(None, description="Archives in order, if it has several.")
    failed: list[FailedTarget] = Field([], description="Targets without a structure.")
    warnings: list[str] = Field([], description="Warnings, such as missing databases or REHEARSAL.")
    db_preset: str = Field("", description="Databases that were searched, or single_sequence.")
    rehearsal: bool = Field(False, description="Random parameters were used.")
