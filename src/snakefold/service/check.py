"""What the service needs, looked at before it listens: later, users are told what they cannot mend."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.kernel.errors import ConfigError, SnakefoldError
from snakefold.kernel.paths import house
from snakefold.kernel.store.location import is_s3, parse_location
from snakefold.kernel.wording import count
from snakefold.service.settings import NimModel, OpenFoldRoutes, ServiceSettings, checked
from snakefold.service.tickets import settings_of_runs
from snakefold.service.users import read_tokens
from snakefold.worker.ready import whose


def check_settings(settings: ServiceSettings) -> None:
    """Look whether everything that the settings name is there, and is what it should be.

    Raises:
        ConfigError: names each setting that is wrong.
    """
    wrong = list(_wrong(settings))
    if wrong:
        lines = "\n".join(f"  {line}" for line in wrong)
        raise ConfigError(f"snakefold serve: {count(len(wrong), 'wrong setting')}.\n{lines}")


def _wrong(settings: ServiceSettings) -> Iterator[str]:
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
        # A trial, for a network's file system may refuse what the mode allows.
        with tempfile.TemporaryFile(dir=settings.folder):
            pass
    except OSError as error:
        yield (
            f"folder: {settings.folder} cannot be written by user {os.geteuid()} ({error.strerror})"
            f"{whose(settings.folder)}. Give it to that user (chown), or name another one."
        )
    if settings.tokens is not None:
        try:
            read_tokens(settings.tokens)
        except SnakefoldError as error:
            yield f"tokens: {error}"
    if not any((place / settings.profile).exists() for place in (house() / "profiles", Path())):
        yield f"profile: {settings.profile}: no such profile. Give a folder of profiles/, or a path."
    try:
        settings_of_runs(settings)
    except SnakefoldError as error:
        yield f"configfile: {error}"
    if is_s3(settings.shared_store) or "://" in settings.shared_store:
        try:
            parse_location(settings.shared_store)
        except SnakefoldError as error:
            yield f"store: {error}"
    asked: dict[str, OpenFoldRoutes | NimModel] = {
        "openfold": settings.openfold,
        "nim.alphafold2": settings.nim.alphafold2,
        **{f"nim.openfold2.{name}": each for name, each in settings.nim.openfold2.items()},
    }
    for name, each in asked.items():
        yield from _wrong_engine(name, each.engine, each.settings)


def _wrong_engine(name: str, engine: str, values: dict[str, Any]) -> Iterator[str]:
    found = engines.find(engine)
    if found is None:
        yield f"{name}.engine: {engine}: no such engine. There are: {', '.join(engines.names())}."
        return
    try:
        checked(found.Settings, values, f"{name}.settings")
    except SnakefoldError as error:
        yield str(error)
