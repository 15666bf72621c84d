"""The settings that a run would have, from the options that `snakefold run` takes: nothing is started."""

from __future__ import annotations

import argparse
import os
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import yaml
from platformdirs import site_config_path, user_config_path

from snakefold.kernel.errors import ConfigError, SnakefoldError, input_file_missing
from snakefold.kernel.paths import house

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from snakefold.config import Config
    from snakefold.plan.executors import Executor

_PROFILE_FILE = re.compile(r"(?:profile|config)(?:\.v(\d+)\+)?\.yaml")
_SNAKEMAKE_MAJOR = 9


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose settings, as `snakefold run` has them."""
    parser.add_argument(
        "input",
        nargs="*",
        help="FASTA, CSV, A3M, AlphaFold 3 JSON or Boltz YAML files, or folders; without any, the demo set",
    )
    parser.add_argument("--configfile", type=Path, help="YAML file of settings (config/README.md lists them)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set one setting; the value is read as YAML",
    )
    parser.add_argument(
        "--profile",
        "--workflow-profile",
        dest="profile",
        metavar="PROFILE",
        default="default",
        help="profile that says how jobs run: the name of a folder in profiles/, or a path",
    )
    shown = parser.format_help
    # Made when it is asked for: the settings of all engines take longer than the rest of the command line.
    setattr(parser, "format_help", lambda: f"{shown()}\n{_engine_settings()}")  # noqa: B010


def _engine_settings() -> str:
    """Settings of the engines that are installed, for the end of the help."""
    from snakefold import engines
    from snakefold.plan.settings_docs import rows

    lines = ["settings of the engines (config/README.md has the others):"]
    for engine in engines.names():
        for name, kind, default, text in rows(engines.get(engine).Settings, f"{engine}."):
            told = f"{text} {kind.replace('`', '')}; default {default.replace('`', '')}".strip()
            lines += [
                f"  {name}",
                *textwrap.wrap(told, 78, initial_indent=" " * 8, subsequent_indent=" " * 8),
            ]
    return "\n".join(lines) + "\n"


def settings_of(options: argparse.Namespace) -> Config:
    """The configuration as Snakemake puts it together from the command line of `snakefold run`.

    config/config.yaml comes first, then a profile's `configfile:`, `--configfile`, the profile's `config:`
    and `--set`.

    Raises:
        ConfigError: a file cannot be read, or a setting is wrong.
    """
    from snakefold.config import load_config, read_settings

    values = read_settings(house() / "config" / "config.yaml")
    _update(values, settings_given(options))
    files = map(str, configfiles(options))
    source = ", ".join(["config/config.yaml", *files, *(["--set"] if options.set else [])])
    return load_config(values, source)


def settings_given(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line and the profile say, laid over each other, unchecked.

    Raises:
        ConfigError: a file cannot be read.
        SnakefoldError: an option is malformed, or an input is not there.
    """
    from snakefold.config import Config, read_settings

    values: dict[str, Any] = {}
    for path in configfiles(options):
        _update(values, read_settings(path))
    for item in _profile(options.profile).config:
        _update(values, dict([_named_value(item)]))
    for item in options.set:
        _update(values, _setting(item))
    if options.input:
        for path in options.input:
            if not _exists(path):
                raise input_file_missing(Path(path))
        # As a setting, the name of the demo means the demo.
        demo = Config.model_fields["input"].default
        values["input"] = [str(Path(path).absolute()) if path == demo else path for path in options.input]
    return values


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def configfiles(options: argparse.Namespace) -> list[Path]:
    """Arguments of Snakemake's `--configfile`: the profile's, then that of the command line, which wins."""
    given = [_configfile(options.configfile)] if options.configfile else []
    return [*_profile(options.profile).configfiles, *given]


def _configfile(path: Path) -> Path:
    """The file named, or the one of that name that comes with snakefold (config/demo.yaml)."""
    for place in (path, house() / path):
        if place.is_file():
            return place
    raise SnakefoldError(f"{path}: no such file. Check --configfile.")


def executor_of(options: argparse.Namespace) -> Executor:
    """What the profile of the command line sends jobs to."""
    return _profile(options.profile).executor


def _setting(item: str) -> dict[str, Any]:
    """One `--set`."""
    name, equals, value = item.partition("=")
    path, field = _resolved(name)
    if not equals or not all(path):
        raise SnakefoldError(f"--set {item}: expected NAME=VALUE, for example --set msa.tool=mmseqs.")
    _, read = _named_value(f"{path[-1]}={value}")
    quoted = value[:1] in {"'", '"'} and value[:1] == value[-1:]
    is_list = isinstance(read, list) and field is not None and list[str] in _kinds(field)
    if field is not None and _is_text(field) and value and not quoted and not is_list:
        read = value  # 20261129 may be a folder, and "a #b" as well
    setting: dict[str, Any] = {path[-1]: read}
    for section in reversed(path[:-1]):
        setting = {section: setting}
    return setting


def _resolved(name: str) -> tuple[list[str], FieldInfo | None]:
    """The sections and the name of a setting, and what is known of it.

    What follows the last section is one name: those of references may have dots.
    """
    from snakefold.config import Config

    model: Any = Config
    path: list[str] = []
    rest = name
    while True:
        section, dot, leaf = rest.partition(".")
        fields = getattr(model, "model_fields", {})
        if not dot or (path and section not in fields):
            return [*path, rest], fields.get(rest)
        path.append(section)
        model, rest = getattr(fields.get(section), "annotation", None), leaf


def _is_text(field: FieldInfo) -> bool:
    """Whether a setting holds a text, or else a list of them, and nothing else."""
    kinds = [kind for kind in _kinds(field) if kind not in (type(None), list[str])]
    return bool(kinds) and all(kind is str or getattr(kind, "__origin__", None) is str for kind in kinds)


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    """Types of which a setting is one."""
    # Of `Annotated[str, …] | None`, what is not None, without its validators.
    is_union = get_origin(field.annotation) in (Union, UnionType)
    return get_args(field.annotation) if is_union else (field.annotation,)


def _this_machine() -> Executor:
    from snakefold.plan.executors import Executor

    return Executor()


@dataclass(frozen=True)
class _Profile:
    """What a profile says: its `configfile:`, as `name=value` its `config:`, and its executor."""

    configfiles: tuple[Path, ...] = ()
    config: tuple[str, ...] = ()
    executor: Executor = field(default_factory=_this_machine)


def _profile(name: str) -> _Profile:
    """What stands in a profile: of several versions of its file, the newest that is not too new."""
    places = [house() / "profiles", Path(), user_config_path("snakemake"), site_config_path("snakemake")]
    if os.sep in name:
        places = [Path()]
    folder = next((place / name for place in places if (place / name).exists()), None)
    if folder is None:
        raise SnakefoldError(f"{name}: no such profile. Give a folder of profiles/, or a path.")
    if folder.is_file():
        return _read_profile(folder)
    matches = ((_PROFILE_FILE.fullmatch(path.name), path) for path in folder.iterdir())
    versions = [(int(match[1] or 0), path) for match, path in matches if match]
    fitting = [item for item in versions if item[0] <= _SNAKEMAKE_MAJOR]
    return _read_profile(max(fitting)[1]) if fitting else _Profile()


def _read_profile(path: Path) -> _Profile:
    from snakefold.config import read_settings
    from snakefold.plan.executors import of_profile

    entries = read_settings(path)
    files = entries.get("configfile", entries.get("configfiles")) or []
    if not isinstance(files, list):
        # One name is looked up beside the profile first; a list is taken as it stands.
        name = Path(os.path.expandvars(str(files))).expanduser()
        files = [path.parent / name if (path.parent / name).exists() else name]
    config = entries.get("config") or []
    if isinstance(config, dict):
        config = [f"{name}={_quoted(value)}" for name, value in config.items()]
    return _Profile(
        tuple(Path(str(name)) for name in files), tuple(map(str, config)), of_profile(entries, path.parent)
    )


def _quoted(value: object) -> object:
    """A text that looks like a number stays a text."""
    try:
        is_number = isinstance(value, str) and bool(str(float(value)))
    except ValueError:
        is_number = False
    return repr(value) if is_number else value


def _named_value(item: str) -> tuple[str, Any]:
    """One `name=value` with its value read as Snakemake reads that of `--config`."""
    name, equals, text = item.partition("=")
    if not equals:
        raise ConfigError(f"{item}: expected NAME=VALUE.")
    if not text:
        return name, None
    for number in (int, float):
        try:
            return name, number(text)
        except ValueError:
            continue
    if text in {"True", "False"}:
        return name, text == "True"
    try:
        return name, yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 (it makes only strings)
    except yaml.YAMLError:
        return name, text


def _update(values: dict[str, Any], others: Mapping[str, Any]) -> None:
    """Lay `others` over `values`, section by section."""
    for name, value in others.items():
        if isinstance(value, Mapping) and isinstance(values.get(name), dict):
            _update(values[name], value)
        else:
            values[name] = value
