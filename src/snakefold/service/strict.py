"""JSON of clients, read strictly: what programs read differently is refused before any of them reads it.

Keys twice, NaN and infinity, halves of characters, nesting without end: nobody who means well sends them, and
each makes some program along the way fail, or see another request than the program before.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

_DEEPEST = 64


class NotStrict(ValueError):
    """A body that is no JSON, or JSON that is not to be trusted. The text repeats nothing of it."""


def check_json(body: bytes) -> None:
    """Accept a body.

    Raises:
        NotStrict: says what it is.
    """
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except NotStrict:
        raise
    except UnicodeDecodeError as error:
        raise NotStrict(f"The body is not UTF-8 (byte {error.start}).") from error
    except json.JSONDecodeError as error:
        raise NotStrict(
            f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from error
    except ValueError as error:  # integers of thousands of digits
        raise NotStrict("A number of the body has too many digits.") from error
    except RecursionError as error:
        raise _too_deep() from error
    _check_depth(value)
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotStrict("A text of the body has half a character (a lone surrogate).") from error
    except ValueError as error:  # 1e999
        raise NotStrict("A number of the body is too large.") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrict("An object of the body has a key twice.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise NotStrict(f"{name} is not JSON. Leave out a value that there is not.")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST + 1):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += [inner for inner in each.values() if isinstance(inner, dict | list)]
            elif isinstance(each, list):
                below += [inner for inner in each if isinstance(inner, dict | list)]
        if not below:
            return
        level = below
    raise _too_deep()


def _too_deep() -> NotStrict:
    return NotStrict(f"The body is nested deeper than {_DEEPEST} levels.")
