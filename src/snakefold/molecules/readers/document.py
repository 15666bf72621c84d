"""JSON and YAML of unknown origin as tables that know their lines; nothing is passed over in silence."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Hashable, Iterator, Sequence
from json.decoder import JSONObject  # type: ignore[attr-defined]
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import ValidationError

from snakefold.kernel.contracts import Model
from snakefold.kernel.names import shown
from snakefold.molecules.entities import said
from snakefold.molecules.lines import BadFile

#: Bytes. A JSON may hold alignments; YAML has none, and its parser takes seconds for a megabyte.
MAX_JSON, MAX_YAML = 1 << 26, 1 << 20
#: Objects of a JSON; each takes some hundred bytes of memory, and two of the text.
MAX_OBJECTS = 1_000_000

_M = TypeVar("_M", bound=Model)


class Table(dict[str, Any]):
    """An object of JSON, a mapping of YAML; `line` is that of its beginning, 1-based."""

    __slots__ = ("line",)

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line

    def add(self, key: str, value: Any, line: int) -> None:
        """Raises BadFile for a key that is there."""
        if key in self:
            raise BadFile("double_key", f"The key {shown(key, 40)!r} is there twice.", "Keep one.", line)
        self[key] = value


def parse_json(text: str) -> Any:
    """A JSON text, its objects as `Table`.

    Raises:
        BadFile: it is none, a key is there twice, a number is none, or it is nested too deeply.
    """
    try:
        return _Decoder().decode(text)
    except json.JSONDecodeError as error:
        raise BadFile(
            "json",
            f"This is no JSON: {error.msg} (column {error.colno}).",
            "Correct it; comments and commas after the last item are not allowed.",
            error.lineno,
        ) from error
    except RecursionError as error:
        raise _too_deep("JSON") from error
    except ValueError as error:  # digits without end
        raise BadFile("json", f"This is no JSON: {shown(str(error))}.", "Correct it.") from error


class _Decoder(json.JSONDecoder):
    """The standard decoder, with lines: only its scanner in Python tells where an object begins."""

    def __init__(self) -> None:
        super().__init__(parse_constant=_no_number)
        self._place, self._line, self._objects = 0, 1, 0
        self.parse_object = self._object
        self.scan_once = py_make_scanner(self)

    def _object(self, place: tuple[str, int], *rest: Any) -> tuple[Table, int]:
        text, start = place
        self._line += text.count("\n", self._place, start)
        self._place = start
        self._objects += 1
        if self._objects > MAX_OBJECTS:
            raise BadFile("too_many_records", f"More than {MAX_OBJECTS} objects.", "Split it.", self._line)
        table = Table(self._line)

        def collect(pairs: list[tuple[str, Any]]) -> Table:
            for key, value in pairs:
                table.add(key, value, table.line)
            return table

        strict, scan_once, _, _, *memo = rest
        found, end = JSONObject(place, strict, scan_once, None, collect, *memo)
        return found, end


def _no_number(word: str) -> NoReturn:
    raise BadFile("json", f"{word} is no number of JSON.", "Correct it.")


def parse_yaml(text: str) -> Any:
    """A YAML text with the plain types of `yaml.safe_load`, its mappings as `Table`.

    Raises:
        BadFile: it is none or several, a key is there twice or is no text, it has anchors, or it is nested
            too deeply.
    """
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        return None if node is None else _value(loader, node, set())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BadFile(
            "yaml",
            f"This is no YAML: {shown(error.problem or str(error))}.",
            "Correct it; blanks say what belongs to what, and a text with ': ' or ' #' needs quotes.",
            mark.line + 1 if mark else 0,
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise BadFile("yaml", f"This is no YAML: {shown(str(error))}.", "Correct it.") from error
    except RecursionError as error:
        raise _too_deep("YAML") from error
    finally:
        if loader is not None:
            loader.dispose()


_TAGS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


def _value(loader: yaml.SafeLoader, node: yaml.Node, met: set[int]) -> Any:
    line = node.start_mark.line + 1
    if id(node) in met:
        raise BadFile("yaml", "Aliases ('*name') are not read.", "Write it out.", line)
    met.add(id(node))
    if not isinstance(node, yaml.ScalarNode) and node.tag not in _TAGS:
        raise BadFile("yaml", f"The tag {shown(node.tag, 60)!r} is not read.", "Take it out.", line)
    if isinstance(node, yaml.MappingNode):
        table = Table(line)
        for key_node, value_node in node.value:
            key = _value(loader, key_node, met)
            key_line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise BadFile("type", f"The key {_kind(key)} is no text.", "Put it in quotes.", key_line)
            table.add(key, _value(loader, value_node, met), key_line)
        return table
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, each, met) for each in node.value]
    found: Hashable = loader.construct_object(node)
    return found


def _too_deep(language: str) -> BadFile:
    return BadFile("nested", f"The {language} is nested too deeply.", "No input of a program is.")


_REQUIRED = object()


class Fields:
    """The keys of a table, each to be taken once; `where` says what the table is, for a person."""

    def __init__(self, table: Any, where: str, line: int) -> None:
        if not isinstance(table, Table):
            raise BadFile("type", f"{where} is {_kind(table)}, not a mapping of keys.", "Correct it.", line)
        self.line = table.line
        self.where = where
        self._table = table
        self._taken: list[str] = []

    def text(self, name: str, default: Any = _REQUIRED) -> Any:
        """A text."""
        value = self._take(name, default)
        if value is default or isinstance(value, str):
            return value
        advice = "Put it in quotes." if isinstance(value, bool | int | float) else "Correct it."
        raise self.problem("type", f"{name} is read as {_kind(value)}, not as a text.", advice)

    def texts(self, name: str, default: Any = _REQUIRED) -> Any:
        """A text, or a list of texts, as a list."""
        value = self._take(name, default)
        if value is default:
            return value
        values = value if isinstance(value, list) else [value]
        for each in values:
            if not isinstance(each, str):
                raise self.problem(
                    "type", f"{name} is read as {_kind(each)}, not as a text.", "Put it in quotes."
                )
        if not values:
            raise self.problem("type", f"{name} is an empty list.", "Give at least one.")
        return values

    def integer(self, name: str, default: Any = _REQUIRED) -> Any:
        """A whole number."""
        value = self._take(name, default)
        if value is default or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.problem("type", f"{name} is {_kind(value)}, not a whole number.", "Correct it.")

    def number(self, name: str, default: Any = _REQUIRED) -> Any:
        """A number that is finite."""
        value = self._take(name, default)
        if value is default or (isinstance(value, int | float) and not isinstance(value, bool)):
            if value is not default and not math.isfinite(value):
                raise self.problem("type", f"{name} is not finite.", "Correct it.")
            return value
        raise self.problem("type", f"{name} is {_kind(value)}, not a number.", "Correct it.")

    def flag(self, name: str, default: Any = _REQUIRED) -> Any:
        """True or false."""
        value = self._take(name, default)
        if value is default or isinstance(value, bool):
            return value
        raise self.problem("type", f"{name} is {_kind(value)}, not true or false.", "Correct it.")

    def list(self, name: str, default: Any = _REQUIRED) -> Any:
        """A list of anything."""
        value = self._take(name, default)
        if value is default or isinstance(value, list):
            return value
        raise self.problem("type", f"{name} is {_kind(value)}, not a list.", "Correct it.")

    def tables(self, name: str, called: str) -> Iterator[Fields]:
        """Mappings of a list, none if it is missing; `called` is one of them."""
        for number, value in enumerate(self.list(name, []), 1):
            yield Fields(value, f"{self.where}, {called} {number}", self.line)

    def only(self) -> tuple[str, Any]:
        """The one key of a mapping that says what its value is."""
        if len(self._table) != 1:
            keys = shown(", ".join(self._table), 60) or "none"
            raise self.problem("type", f"one key is expected, and there are: {keys}.", "Correct it.")
        return next(iter(self._table.items()))

    def has(self, name: str) -> bool:
        """Whether a key has a value."""
        return self._table.get(name) is not None

    def ignore(self, *names: str) -> None:
        """Keys that change nothing."""
        self._taken += names

    def done(self) -> None:
        """Raises BadFile if a key has not been taken: it might change the result."""
        for key in self._table:
            if key not in self._taken:
                near = difflib.get_close_matches(key, self._taken, 1)
                meant = f"Is {near[0]!r} meant? " if near else ""
                raise self.problem(
                    "unknown_key",
                    f"the key {shown(key, 40)!r} is not known.",
                    f"{meant}Known are {', '.join(dict.fromkeys(self._taken))}.",
                )

    def problem(self, code: str, message: str, advice: str) -> BadFile:
        """What is wrong here."""
        return BadFile(code, f"{self.where}: {message}", advice, self.line)

    def make(self, model: type[_M], **values: Any) -> _M:
        """An entity or an assembly. Raises BadFile with what is wrong with it."""
        return make(model, self.where, self.line, **values)

    def _take(self, name: str, default: Any) -> Any:
        self._taken.append(name)
        value = self._table.get(name)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise self.problem("missing_key", f"{name} is missing.", "Add it.")
        return default


def make(model: type[_M], where: str, line: int, **values: Any) -> _M:
    """An entity or an assembly. Raises BadFile with what is wrong with it."""
    try:
        return model(**values)
    except ValidationError as error:
        prefix = f"{where}: " if where else ""
        raise BadFile("molecules", f"{prefix}{said(error)}", "Correct the record.", line) from error


def _kind(value: Any) -> str:
    """A value as a person would call it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}" if abs(value) < 1e15 else "a number"
    if isinstance(value, str):
        return f"the text {shown(value, 40)!r}"
    if value is None:
        return "empty"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, Sequence) else "a date"
