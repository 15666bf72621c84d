"""The first step of a run: its settings as every other step reads them, named by what the run depends on.

Settings reach the step in a file that an environment variable names: a command has a length, and text on it
would be quoted once for every program that hands it on.
"""

from __future__ import annotations

import atexit
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from snakefold.config import Config
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.plan.contents import OWN

#: Environment variable with the file of settings.
_HANDED_ON = "SNAKEFOLD_SETTINGS"
#: In the folder of results, what the settings there were made for.
_CONTENTS = "contents.json"


def hand_on(stages: Iterable[tuple[Config, Mapping[str, str]]]) -> None:
    """Let the steps of the run that this process starts, if it starts one, find these settings.

    Args:
        stages: settings of each stage, and what it depends on (`plan.contents`).
    """
    handle, name = tempfile.mkstemp(prefix="snakefold-settings-", suffix=".json")
    os.close(handle)
    path = Path(name)
    atexit.register(_remove, path, os.getpid())
    handed = [
        {"settings": config.model_dump(mode="json"), "contents": dict(contents)}
        for config, contents in stages
    ]
    path.write_text(json.dumps(handed), encoding="utf-8")
    os.environ[_HANDED_ON] = name


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:  # and not a fork of it
        path.unlink(missing_ok=True)


def configure(settings: Path, config: Path) -> list[str]:
    """Write the settings that were handed on into both files, and remove those of other contents.

    Returns:
        What changed since the last run of these results, as lines for the log.

    Raises:
        SnakefoldError: no settings were handed on.
    """
    given = os.environ.get(_HANDED_ON)
    if not given:
        raise SnakefoldError("No settings were handed on: this is a step of the workflow. Use snakefold run.")
    handed = _of_results(json.loads(Path(given).read_text(encoding="utf-8")), config.parent)
    contents: dict[str, str] = handed["contents"]
    text = yaml.safe_dump(handed["settings"], sort_keys=False, allow_unicode=True).encode()
    kept = config.parent / OWN / _CONTENTS
    before = _read(kept)
    for other in settings.parent.glob("*.yaml"):
        other.unlink(missing_ok=True)
    if before.get("references", contents["references"]) != contents["references"]:
        # Tables hold the comparison with references; they are made again from the archives.
        for table in (config.parent / "tables").glob("*.parquet"):
            table.unlink(missing_ok=True)
    if before and before.get("control") != contents.get("control"):
        for scores in (config.parent / "designs" / "compared").glob("*.parquet"):
            scores.unlink(missing_ok=True)
    write_atomically(config, text)
    write_atomically(kept, json.dumps(contents, indent=1).encode())
    write_atomically(settings, text)
    return _said(before, contents, planned=(config.parent / "plan" / "batches").is_dir())


def _of_results(handed: Sequence[dict[str, Any]], results: Path) -> dict[str, Any]:
    """What was handed on for the stage of these results; a run has one stage mostly."""
    place = os.path.realpath(results)
    named = (each for each in handed if os.path.realpath(each["settings"]["results"]) == place)
    return next(named, handed[0])


def _read(kept: Path) -> dict[str, str]:
    try:
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _said(before: dict[str, str], contents: dict[str, str], *, planned: bool) -> list[str]:
    if before:
        changed = ", ".join(name for name, digest in contents.items() if before.get(name) != digest)
        return [f"Planned again, because this changed since the last run: {changed}."] if changed else []
    if planned:
        return [
            "These results identify their inputs by time. They are planned again, with inputs identified by "
            "content; stored results are not computed again."
        ]
    return []
