"""What an engine's environment has. Its interpreter runs this file by its path: snakefold may not import.

Prints, as the last line, a JSON object: `python`, `prefix`, `packages` (versions by distribution), and
`wrong` (pairs of what does not import and why).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import sys


def look(engine: str, packages: list[str], modules: list[str]) -> dict[str, object]:
    """Import `modules`, the module of each of `packages`, and the engine's entry point."""
    versions = {
        _canonical(each.metadata["Name"]): each.version
        for each in importlib.metadata.distributions()
        if each.metadata["Name"]
    }
    wrong: list[tuple[str, str]] = []
    modules = [*modules]
    names = _modules()
    for package in packages:
        if _canonical(package) in versions:
            modules += names.get(_canonical(package), [])
        else:
            wrong.append((package, "is not installed"))
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException as error:  # a library may leave the process: that is what is looked for
            wrong.append((module, _told(error)))
    if not wrong:
        try:
            (point,) = importlib.metadata.entry_points(group="snakefold.engines", name=engine)
            point.load()
        except BaseException as error:
            wrong.append((f"engine {engine}", _told(error)))
    version = ".".join(map(str, sys.version_info[:3]))
    return {"python": version, "prefix": sys.prefix, "packages": versions, "wrong": wrong}


def _modules() -> dict[str, list[str]]:
    """By distribution the module that has its name, or its only one: others may be tests, or tools."""
    found: dict[str, list[str]] = {}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for distribution in set(distributions):
            found.setdefault(_canonical(distribution), []).append(module)
    return {
        name: modules if len(modules) == 1 else [each for each in modules if _canonical(each) == name]
        for name, modules in found.items()
    }


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _told(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0][:300]
    return f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    found = look(*json.loads(sys.argv[1]))
    print(f"\n{json.dumps(found)}")
