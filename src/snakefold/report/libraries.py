"""JavaScript libraries of the page: copied out of installed wheels, with their licences, when it is built."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import Any

from snakefold.kernel.errors import SnakefoldError

_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def script_json(value: Any) -> str:
    """`value` as a JavaScript expression.

    Raises:
        ValueError: NaN or an infinity, which JSON does not have.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def script_call(function: str, *values: Any) -> bytes:
    """A script file that hands `values` to a function of the page."""
    return f"{function}({','.join(map(script_json, values))});\n".encode("ascii")


def packed(data: bytes) -> str:
    """Bytes as base64 of gzip; equal bytes give equal text."""
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode("ascii")


_EXPORT = re.compile(r"export\s*\{[^}]*?([\w$]+) as default\b[^}]*\};")


def _as_is(text: str) -> str:
    return text


def _classic(module: str) -> str:
    """An ES module as a classic script that sets `DataTable`: browsers load no modules from a disk."""
    found = _EXPORT.search(module)
    if found is None:
        raise SnakefoldError("itables: dt_bundle.js has no default export. Install the locked version.")
    body = f"{module[: found.start()]}globalThis.DataTable={found[1]};{module[found.end() :]}"
    return f"(()=>{{{body}\n}})();\n"


@dataclass(frozen=True)
class _Source:
    package: str
    path: str
    name: str
    convert: Callable[[str], str] = _as_is


@dataclass(frozen=True)
class Library:
    """A library of the page, for the list at its foot; `licence` is a file name in assets/."""

    name: str
    version: str
    licence: str


_SOURCES = (
    _Source("plotly", "plotly/package_data/plotly.min.js", "plotly.min.js"),
    _Source("itables", "itables/html/dt_bundle.js", "datatables.js", _classic),
    _Source("molstar-cli", "molstar_cli/static/molstar/molstar.js", "molstar.js"),
    _Source("molstar-cli", "molstar_cli/static/molstar/theme/light.css", "molstar-light.css"),
    _Source("molstar-cli", "molstar_cli/static/molstar/theme/dark.css", "molstar-dark.css"),
)
_LICENCES = (
    ("plotly", "licenses/LICENSE.txt", "plotly.js"),
    ("itables", "licenses/LICENSE", "DataTables (from itables)"),
    ("molstar-cli", "molstar/LICENSE.molstar", "Mol*"),
)


def copy_libraries(assets: Path) -> list[Library]:
    """Copy every library and licence into `assets`.

    Raises:
        SnakefoldError: a package or one of its files is missing; the text says which.
    """
    for source in _SOURCES:
        text = _file(_package(source.package), source.path).read_text(encoding="utf-8")
        (assets / source.name).write_text(source.convert(text), encoding="utf-8")
    libraries = []
    for package, path, name in _LICENCES:
        found = _package(package)
        target = f"LICENSE.{package}.txt"
        (assets / target).write_bytes(_file(found, path).read_bytes())
        libraries.append(Library(name, f"{package} {found.version}", target))
    return libraries


def _package(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise SnakefoldError(f"The report needs the Python package {name}: pip install {name}.") from error


def _file(package: Distribution, path: str) -> Path:
    wanted = PurePosixPath(path).parts
    for entry in package.files or []:
        if entry.parts[-len(wanted) :] == wanted:
            return Path(str(entry.locate()))
    raise SnakefoldError(f"{package.name} {package.version} has no {path}. Install the locked version.")
