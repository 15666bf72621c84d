"""Ids of what was deployed, in a file beside endpoints.yaml that the profile reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from snakefold.clusters.runpod.deploy.api import Kind
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.store import write_atomically

_HEAD = (
    "# Written by `snakefold deploy`: ids of the resources in your RunPod account. The profile reads it.\n"
)
_KEYS: dict[Kind, str] = {"volume": "volumes", "template": "templates", "endpoint": "endpoints"}


@dataclass
class Lock:
    """Ids by kind and logical name."""

    path: Path
    ids: dict[Kind, dict[str, str]] = field(default_factory=dict)

    def id_of(self, kind: Kind, key: str) -> str | None:
        return self.ids.get(kind, {}).get(key)

    def note(self, kind: Kind, key: str, resource: str) -> None:
        """Keep an id, at once: what is forgotten is paid for and never used."""
        self.ids.setdefault(kind, {})[key] = resource
        self.write()

    def forget(self, kind: Kind, key: str) -> None:
        self.ids.get(kind, {}).pop(key, None)
        self.write()

    def entries(self) -> Iterator[tuple[Kind, str, str]]:
        """Endpoints first: a template cannot go before its endpoint."""
        for kind in ("endpoint", "template", "volume"):
            yield from ((kind, key, value) for key, value in sorted(self.ids.get(kind, {}).items()))

    def write(self) -> None:
        content = {_KEYS[kind]: dict(sorted(self.ids.get(kind, {}).items())) for kind in _KEYS}
        write_atomically(self.path, (_HEAD + yaml.safe_dump(content, sort_keys=False)).encode())


def read_lock(path: Path) -> Lock:
    """What was noted; nothing where there is no such file yet.

    Raises:
        ConfigError: the file is no such file.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        ids = {
            kind: {str(key): str(value) for key, value in (content or {}).get(name, {}).items()}
            for kind, name in _KEYS.items()
        }
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path}: cannot be read: {error}. Delete it to have what is in the account found by its names."
        ) from error
    return Lock(path, ids)
