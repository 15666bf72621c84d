"""What is wrong with settings, in the words of a configuration."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from pydantic_core import ErrorDetails

#: What pydantic says in Python's words, in those of a configuration.
_WORDED = {
    "dict_type": "a section: `name: value` lines below it, or {{}}",
    "model_type": "a section: `name: value` lines below it, or {{}}",
    "list_type": "a list: [one, two]",
    "tuple_type": "a list: [one, two]",
    "string_type": "text, in quotes if YAML takes it for something else",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "too_short": "at least {min_length} in the list",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
#: Parts of a place that name one of several types, not a setting.
_TYPE = re.compile(r"str|int|float|bool|constrained-\w+|\w+\[.*\]")


def expected_by(error: ErrorDetails) -> str | None:
    """What pydantic expected, in plain words; None where its own text says more."""
    kind = _WORDED.get(error["type"])
    return None if kind is None else kind.format(**error.get("ctx", {}))


def told(
    errors: Sequence[ErrorDetails], names: Callable[[], Sequence[str]], listed: str = "config/README.md"
) -> list[str]:
    """Wrong settings, a line each: its dotted path, what is expected, what was found.

    A value that may be of several types is one wrong setting, not one for each type.

    Args:
        names: dotted names of all settings, among which the nearest to a wrong name is looked for.
        listed: document that has all of them.
    """
    expected: dict[str, list[str]] = defaultdict(list)
    lines: dict[str, str] = {}
    for error in errors:
        name = ".".join(str(part) for part in error["loc"] if not _TYPE.fullmatch(str(part))) or "top level"
        kind = expected_by(error)
        if error["type"] == "extra_forbidden":
            lines[name] = f"no such setting.{_nearest(name, names(), listed)}"
        elif kind is None:
            lines[name] = error["msg"].removeprefix("Value error, ") + _found(error["input"])
        else:
            expected[name].append(kind)
            lines[name] = f"expected {' or '.join(expected[name])}{_found(error['input'])}"
    return [f"  {name}: {line}" for name, line in lines.items()]


def _nearest(name: str, known: Sequence[str], listed: str) -> str:
    leaf = name.rpartition(".")[2]
    same = [each for each in known if each.rpartition(".")[2] == leaf]
    near = same or difflib.get_close_matches(name, known, 3, 0.75)
    return f" Did you mean {' or '.join(near)}?" if near else f" {listed} lists all of them."


def _found(value: object) -> str:
    # An address may have a password in it, which must not end in a log.
    return "" if "://" in str(value) else f" (found {value!r:.80})"
