"""`snakefold plan` and `snakefold run` of a set, as processes of their own that outlive a worker.

Every one is written down before it begins (`start`). Whoever takes the set over sees which of them are alive.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from snakefold.config import read_settings as read_yaml
from snakefold.engines.environments import MAIN
from snakefold.kernel.paths import ONLY_BELOW
from snakefold.kernel.store import write_atomically
from snakefold.service import settings as service
from snakefold.service.plain import PATHS
from snakefold.service.records import began
from snakefold.service.sets import start
from snakefold.service.sets.folder import INPUT, RESULTS, Set
from snakefold.service.settings import ServiceSettings
from snakefold.worker.failures import without_secrets

#: Seconds after Ctrl-C until a process is told to end, and from then until it is killed.
PATIENCE, LAST_PATIENCE = 12.0, 4.0
_SETTINGS = "settings.yaml"
_POLL = 0.2
#: What is the service's own, and no run's.
_OWN = (service.VARIABLE, service.REDIS_PASSWORD, "SNAKEFOLD_STORE", "SNAKEFOLD_LOCK", "SNAKEFOLD_COMMAND")
_LONGEST = 4000
_ERROR = re.compile(r"^snakefold: ", re.MULTILINE)


@dataclass(frozen=True)
class Left:
    """How a process ended; `code` is negative for a signal. `said`: what it wrote for people."""

    code: int
    said: str


class Stopped(Exception):
    """The work was to stop, and what did it has been stopped."""


def command(each: Set, settings: ServiceSettings, what: str, *options: str) -> list[str]:
    """`snakefold plan` or `snakefold run` of a set, to be started in its folder."""
    _write_settings(each, settings)
    profile = settings.profile
    if os.sep in profile:
        profile = str(Path(profile).absolute())
    store = settings.shared_store
    words = [sys.executable, "-c", MAIN, what, "--configfile", _SETTINGS, "--profile", profile]
    # They win over what a profile says.
    for name, value in (("results", RESULTS), ("store", store if "://" in store else _absolute(store))):
        words += ["--set", f"{name}={value}"]
    return [*words, *options]


def _write_settings(each: Set, settings: ServiceSettings) -> None:
    values: dict[str, Any] = {}
    if settings.configfile is not None:
        values = read_yaml(settings.configfile)
        for path in PATHS:
            _make_absolute(values, path)
    _lay_over(values, each.settings)
    values["input"] = list(each.inputs)
    values["publish"] = None
    write_atomically(each.folder / _SETTINGS, yaml.safe_dump(values, sort_keys=False).encode("ascii"))


def _lay_over(values: dict[str, Any], over: Mapping[str, Any]) -> None:
    for name, value in over.items():
        if isinstance(value, Mapping) and isinstance(values.get(name), dict):
            _lay_over(values[name], value)
        else:
            values[name] = value


def _make_absolute(values: dict[str, Any], path: Sequence[str]) -> None:
    *sections, leaf = path
    for name in sections:
        section = values.get(name)
        if not isinstance(section, dict):
            return
        values = section
    given = values.get(leaf)
    # Others are words such as `auto`, addresses, or files that come with snakefold.
    if isinstance(given, str) and given and Path(given).exists():
        values[leaf] = _absolute(given)


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def _environment(each: Set) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OWN}
    return {**kept, ONLY_BELOW: str((each.folder / INPUT).absolute()), "PYTHONUNBUFFERED": "1"}


def run(each: Set, words: Sequence[str], name: str, stop: threading.Event) -> Left:
    """Run a command in the folder of a set to its end.

    Args:
        name: of its files in logs/.
        stop: ends it before, as Ctrl-C does.

    Raises:
        Stopped: it did.
    """
    logs, files = each.folder / "logs", each.folder / "processes"
    for folder in (logs, files):
        folder.mkdir(exist_ok=True)
    file = files / f"{name}-{secrets.token_hex(6)}.json"
    with (logs / f"{name}.out").open("wb") as out, (logs / f"{name}.err").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-I", start.__file__, str(file), *words],
            cwd=each.folder,
            env=_environment(each),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=said,
            start_new_session=True,
        )
    while process.poll() is None:
        if stop.wait(_POLL):
            end_group(process.pid, lambda: process.poll() is None)
            process.wait()
            file.unlink(missing_ok=True)
            raise Stopped
    file.unlink(missing_ok=True)
    return Left(process.returncode, told(each, logs / f"{name}.err"))


def told(each: Set, log: Path) -> str:
    """What a command said of its failure, without the folder of the set and without secrets."""
    texts = [log.read_text(encoding="utf-8", errors="replace")]
    with suppress(OSError):  # the plan step of a run says what is wrong in a log of its own
        texts.append((each.results / "logs" / "plan.log").read_text(encoding="utf-8", errors="replace"))
    found = [text[match[-1].end() :] for text in texts if (match := list(_ERROR.finditer(text)))]
    text = found[0] if found else texts[0][-_LONGEST:]
    for path in (f"{each.folder.absolute()}/", f"{INPUT}/"):
        text = text.replace(path, "")
    return without_secrets(text.strip()[:_LONGEST])


def alive(each: Set, name: str = "") -> list[int]:
    """Processes of a set that live on this machine, of one name of logs; ended ones are forgotten."""
    found = []
    for file in sorted((each.folder / "processes").glob(f"{name}*.json")):
        try:
            said = json.loads(file.read_bytes())
        except FileNotFoundError:
            continue
        if said["host"] != socket.gethostname():
            continue
        if began(said["process"]) == said["began"]:
            found.append(said["process"])
        else:
            file.unlink(missing_ok=True)
    return found


def end_all(each: Set, name: str = "") -> None:
    """End what lives of a set, as `run` does when it is to stop."""
    for process in alive(each, name):
        end_group(process, lambda process=process: process in alive(each, name))


def end_group(process: int, lives: Any) -> None:
    """Ctrl-C to a process and all that it started, as from a terminal; then firmer words."""
    for number, patience in (
        (signal.SIGINT, PATIENCE),
        (signal.SIGTERM, LAST_PATIENCE),
        (signal.SIGKILL, 2.0),
    ):
        with suppress(ProcessLookupError):
            os.killpg(process, number)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if not lives():
                break
            time.sleep(0.1)
        if not lives():
            break
    with suppress(ProcessLookupError):  # what it started and left behind
        os.killpg(process, signal.SIGKILL)
