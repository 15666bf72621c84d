"""`alphafold_extra_flags`: flags of AlphaFold's run_alphafold.py that are honoured, and no others."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from snakefold.kernel.contracts import RelaxChoice

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
