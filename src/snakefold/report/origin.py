"""What results were made with: versions, fingerprints of databases and weights, the command, the methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from snakefold import __version__
from snakefold.run import methods


@dataclass(frozen=True)
class Fingerprint:
    """A database or a set of parameters, by what tells it from another of the same name."""

    kind: str
    name: str
    text: str


@dataclass(frozen=True)
class Origin:
    """Provenance as the page shows it; texts are empty where the run recorded nothing."""

    packages: dict[str, str]
    python: str
    command: str
    settings: str
    recipe: str
    methods: str
    bibtex: str
    fingerprints: list[Fingerprint] = field(default_factory=list)


def read_origin(provenance: Mapping[str, Any]) -> Origin:
    """Provenance from the content of provenance.json; an empty one gives no methods."""
    return Origin(
        packages={
            "snakefold": str(provenance.get("snakefold", __version__)),
            **{str(name): str(version) for name, version in provenance.get("packages", {}).items()},
        },
        python=str(provenance.get("python") or ""),
        command=str(provenance.get("command") or ""),
        settings=_yaml(provenance.get("settings")),
        recipe=_yaml(provenance.get("recipe")),
        methods=methods.paragraph(provenance) if provenance else "",
        bibtex=methods.bibtex(provenance) if provenance else "",
        fingerprints=list(dict.fromkeys(_fingerprints(provenance.get("recipe") or {}))),
    )


def _fingerprints(recipe: Any) -> Iterator[Fingerprint]:
    """Wherever in the recipe they are: each engine has its own layout."""
    if isinstance(recipe, list):
        for each in recipe:
            yield from _fingerprints(each)
    if not isinstance(recipe, Mapping):
        return
    for name, value in recipe.items():
        if name == "databases" and isinstance(value, list):
            yield from (_database(item) for item in value if isinstance(item, Mapping))
        elif name == "weights" and isinstance(value, Mapping):
            yield from _weights(value)
        else:
            yield from _fingerprints(value)


def _database(item: Mapping[str, Any]) -> Fingerprint:
    files = [each for each in item.get("files") or [] if isinstance(each, Mapping)]
    parts = [f"{each.get('name')} ({int(each.get('size') or 0):,} bytes): {_digest(each)}" for each in files]
    return Fingerprint("database", str(item.get("name", "")), "; ".join(parts) or _flat(item))


def _weights(value: Mapping[str, Any]) -> Iterator[Fingerprint]:
    if value.get("rehearsal"):
        rest = {name: each for name, each in value.items() if name != "rehearsal"}
        yield Fingerprint("weights", "REHEARSAL: random parameters", _flat(rest))
        return
    for name, each in value.items():
        yield Fingerprint("weights", str(name), _flat(each))


def _digest(item: Mapping[str, Any]) -> str:
    """The value whose name says that it is a digest, after that name."""
    found = [f"{name} {value}" for name, value in item.items() if "sha256" in str(name)]
    return ", ".join(found) or _flat(item)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_flat(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_flat(each) for each in value)
    return str(value)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True) if value else ""
