"""Environments of engines' own: where they are, whether one is there, and how a process starts in it.

One is a folder of `SNAKEFOLD_ENGINES`, or of the user's data folder, `<engine>/<python>-<machine>-<digest>`,
by the digest of the lock, so that another lock is another environment. An engine may have a second lock, for
machines without a GPU. It holds what the lock says, and
nothing of snakefold. What a process there sees besides are links, named on PYTHONPATH, to the packages of
snakefold and of the engine's distribution as the process that starts it has them, and the metadata by which
the engine is found. So both sides run the same code, an upgrade of snakefold needs no new environment, and
two installations can share one; a copy inside it would be that of one of them. The rest of snakefold's own
environment stays out of sight.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.engines import look
from snakefold.engines.spec import Engine, Environment, canonical, locked
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.machine import has_gpu

ROOT = "SNAKEFOLD_ENGINES"
#: The environment that a process was started in, so that none starts itself forever.
STARTED = "SNAKEFOLD_ENGINE_ENVIRONMENT"
MARKER = "snakefold.json"
#: What snakefold itself imports on the way to a result, by distribution: envs/base.in.
BASE = {
    "gemmi": "gemmi",
    "modelcif": "modelcif",
    "numpy": "numpy",
    "platformdirs": "platformdirs",
    "pydantic": "pydantic",
    "pyyaml": "yaml",
    "zstandard": "zstandard",
}
#: What relaxation needs, which happens in the process of the engine.
RELAXATION = ("alphafold-colabfold", "openmm", "pdbfixer")
_OWN_MODULES = ("snakefold.run.task", "snakefold.worker.endpoints", "snakefold.worker.fold")
_LEAST = (3, 11)
#: `snakefold`, whichever folder its script is in.
MAIN = "import sys; from snakefold.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Place:
    """Where an engine runs.

    Attributes:
        prefix: of its own environment, which is there; None: this interpreter, or nowhere yet.
        missing: what is missing, and what to do; empty: it runs here or in its own environment.
    """

    prefix: Path | None = None
    missing: str = ""


def root() -> Path:
    """Folder of all environments."""
    if given := os.environ.get(ROOT):
        return Path(given).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("snakefold") / "engines"


def lock_for(environment: Environment, *, gpu: bool) -> Path:
    """The lock for machines with a GPU, or for those without."""
    return environment.lock if gpu or environment.cpu_lock is None else environment.cpu_lock


def prefix_of(engine: Engine, environment: Environment, lock: Path | None = None) -> Path:
    """Where the environment is, once it is installed.

    Args:
        lock: which of its locks; None: that of this machine.

    Raises:
        SnakefoldError: its lock cannot be read, or its Python is too old.
    """
    try:
        old = tuple(map(int, environment.python.split(".")))[:2] < _LEAST
    except ValueError:
        old = True
    if old:
        raise SnakefoldError(
            f"engine {engine.name}: its environment asks for Python {environment.python!r}; snakefold runs "
            f"there too, and needs {_LEAST[0]}.{_LEAST[1]} at least. Install another release of the engine."
        )
    lock = lock or lock_for(environment, gpu=has_gpu())
    locked(lock)  # which says what is wrong with it
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    return root() / engine.name / f"{environment.python}-{platform.machine()}-{digest}"


def interpreter(prefix: Path) -> Path:
    """The interpreter of an environment."""
    return prefix / "bin" / "python"


def is_here(prefix: Path) -> bool:
    """Whether this process runs in the environment."""
    return prefix.is_dir() and prefix.samefile(sys.prefix)


def marker(prefix: Path) -> dict[str, Any] | None:
    """What was noted when the environment was complete; None if it is not."""
    try:
        noted = json.loads((prefix / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) else None


def place_of(engine: Engine) -> Place:
    """Where an engine runs: in its own environment, in this interpreter, or nowhere yet. Runs nothing.

    An engine with an environment runs here too where this interpreter has its packages in the versions of its
    lock, as in a container image that was made for it.
    """
    environment = engine.environment
    if environment is None:
        absent = [package for package in engine.packages if not _installed(package)]
        if not absent:
            return Place()
        return Place(missing=f"{', '.join(absent)} not installed: {_pip(engine, absent)}")
    install = f"snakefold engines install {engine.name}"
    # That of this machine first; the other one works as well.
    locks = dict.fromkeys(lock_for(environment, gpu=gpu) for gpu in (has_gpu(), True, False))
    prefixes = [prefix_of(engine, environment, lock) for lock in locks]
    for prefix in prefixes:
        if is_here(prefix):
            return Place(prefix)
    for prefix in prefixes:
        if marker(prefix) is not None:
            if interpreter(prefix).exists():
                return Place(prefix)
            return Place(missing=f"the interpreter of {prefix} is gone: {install}")
    if engine.packages and all(
        _public(_installed(each)) == environment.version(each) for each in engine.packages
    ):
        return Place()
    return Place(missing=f"its environment is not installed: {install}")


def require(engine: Engine) -> Place:
    """Where an engine runs, which is there, with what a process needs to start in it.

    Raises:
        SnakefoldError: it runs nowhere yet; the text says what to do.
    """
    place = place_of(engine)
    if place.missing and engine.environment is not None:
        raise SnakefoldError(f"engine {engine.name}: {place.missing}")
    if place.prefix is not None and not is_here(place.prefix):
        links(engine, place.prefix)
    return place


def enter(engine: Engine, arguments: Sequence[str]) -> None:
    """Become the same command in the engine's own environment; return where this process will do.

    Folder, standard streams and process stay, and with them exit code and signals.

    Raises:
        SnakefoldError: the environment is missing, or does not start.
    """
    place = require(engine)
    if place.prefix is None or is_here(place.prefix):
        return
    if os.environ.get(STARTED) == str(place.prefix):
        raise SnakefoldError(
            f"engine {engine.name}: {interpreter(place.prefix)} was started and runs in {sys.prefix}: "
            f"snakefold engines doctor {engine.name} says more."
        )
    python = str(interpreter(place.prefix))
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(python, [python, "-P", "-c", MAIN, *arguments], variables(engine, place.prefix))
    except OSError as error:
        raise SnakefoldError(
            f"engine {engine.name}: {python} does not start ({error.strerror}). "
            f"Install its environment again: snakefold engines install {engine.name}"
        ) from error


def variables(engine: Engine, prefix: Path) -> dict[str, str]:
    """Environment variables of a process in an environment: nothing of this interpreter's packages."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
    path = os.pathsep.join([str(prefix / "bin"), *os.get_exec_path()])
    return {
        **kept,
        "PATH": path,
        "PYTHONPATH": str(links(engine, prefix)),
        "PYTHONNOUSERSITE": "1",
        "VIRTUAL_ENV": str(prefix),
        STARTED: str(prefix),
    }


def links(engine: Engine, prefix: Path) -> Path:
    """Folder with links to snakefold's and the engine's packages, and what finds the engine; made if missing.

    Raises:
        SnakefoldError: they cannot be made.
    """
    point = engines.point(engine.name)
    wanted: dict[str, Path | str] = {}
    brings = point.dist
    for found, module in ((distribution("snakefold"), "snakefold"), (brings, point.module)):
        if found is not None:
            wanted |= _package(engine, module) | _metadata(found)
    named = json.dumps({name: str(value) for name, value in wanted.items()}, sort_keys=True)
    folder = prefix / "links" / hashlib.sha256(named.encode()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    making = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        for name, value in wanted.items():
            path = making / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(value, Path):
                path.symlink_to(value)
            else:
                path.write_text(value, encoding="utf-8")
        making.rename(folder)
    except OSError as error:
        shutil.rmtree(making, ignore_errors=True)
        if not folder.is_dir():  # another process may have made it
            raise SnakefoldError(
                f"{folder}: cannot be made ({error.strerror or error}), and without it the environment does "
                f"not see this snakefold. Let its owner run: snakefold engines install {engine.name}"
            ) from error
    return folder


def packages(engine: Engine) -> dict[str, str]:
    """Versions of the engine's packages where it runs, on whatever machine; none of one that is missing."""
    if engine.environment is None:
        return {each: found for each in engine.packages if (found := _installed(each))}
    known = {name: versions[0] for name, versions in locked(engine.environment.lock).items()}
    if prefix := place_of(engine).prefix:
        known |= (marker(prefix) or {}).get("packages", {})
    return {each: known[canonical(each)] for each in engine.packages if canonical(each) in known}


def absent(engine: Engine, names: Sequence[str]) -> list[str]:
    """Those of these distributions that the engine's own environment lacks; none where it runs here."""
    prefix = place_of(engine).prefix
    noted = (marker(prefix) or {}).get("packages", {}) if prefix else dict.fromkeys(names)
    return [name for name in names if name not in noted]


@dataclass(frozen=True)
class Seen:
    """What an environment has, by its own interpreter; `wrong`: what does not import, and why."""

    python: str = ""
    packages: Mapping[str, str] | None = None
    wrong: Sequence[tuple[str, str]] = ()


def inspect(engine: Engine, prefix: Path | None) -> Seen:
    """Run the interpreter of an environment, or this one, and import what the engine needs there."""
    python = str(interpreter(prefix)) if prefix else sys.executable
    environment = variables(engine, prefix) if prefix else None
    asked = json.dumps([engine.name, list(engine.packages), [*BASE.values(), *_OWN_MODULES]])
    try:
        done = subprocess.run(
            [python, "-P", look.__file__, asked],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except OSError as error:
        return Seen(wrong=[(python, f"does not start ({error.strerror or error})")])
    try:
        said = json.loads(done.stdout.rstrip().rpartition("\n")[2])
        seen = Seen(said["python"], said["packages"], [(what, why) for what, why in said["wrong"]])
    except (ValueError, KeyError, TypeError):
        told = done.stderr.strip().rpartition("\n")[2][:300] or "no text"
        return Seen(wrong=[(python, f"ends with {done.returncode} while it imports ({told})")])
    if prefix and not Path(said["prefix"]).samefile(prefix):
        return Seen(seen.python, seen.packages, [(python, f"runs in {said['prefix']}"), *seen.wrong])
    return seen


def _public(version: str | None) -> str | None:
    """A version without its local part, which says how it was built (2.13.0+cpu)."""
    return version and version.partition("+")[0]


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _pip(engine: Engine, absent: Sequence[str]) -> str:
    """The command that installs packages here: the extra that brings them, if there is one."""
    brings = engines.point(engine.name).dist
    wanted = {canonical(each) for each in absent}
    for line in (brings.requires or []) if brings else []:
        requirement, _, condition = line.partition(";")
        name = requirement.split("=")[0].split(">")[0].split("<")[0].split("[")[0].split("(")[0].strip(" ~!")
        extra = condition.partition("extra ==")[2].strip(" '\"")
        if brings and extra and canonical(name) in wanted:
            return f"pip install '{brings.name}[{extra}]'"
    return f"pip install {' '.join(absent)}"


def _package(engine: Engine, module: str) -> dict[str, Path | str]:
    """Where the package of a module is, by its place on the path; a namespace goes down to what it holds."""
    parts = module.split(".")
    for number in range(1, len(parts) + 1):
        spec = importlib.util.find_spec(".".join(parts[:number]))
        if spec is None or spec.origin is None:
            continue
        file = Path(spec.origin).absolute()
        return {"/".join(parts[:number]): file.parent} if spec.submodule_search_locations else {
            "/".join([*parts[: number - 1], file.name]): file
        }  # fmt: skip
    raise SnakefoldError(
        f"engine {engine.name}: no file of the module {module} was found. Install the distribution that "
        "brings the engine again."
    )


def _metadata(found: Distribution) -> dict[str, Path | str]:
    """What finds a distribution's entry points and version, written anew: an installation may be editable."""
    folder = f"{canonical(found.name).replace('-', '_')}-{found.version}.dist-info"
    return {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {found.name}\nVersion: {found.version}\n",
        f"{folder}/entry_points.txt": found.read_text("entry_points.txt") or "",
    }
