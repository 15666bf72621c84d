"""The settings that a run would have, from the options that `snakefold run` takes: nothing is started."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from snakefold.cli.run import settings_arguments
from snakefold.config import Config, load_config
from snakefold.errors import ConfigError, SnakefoldError
from snakefold.paths import house

_PROFILE_FILE = re.compile(r"(?:profile|config)(?:\.v(\d+)\+)?\.yaml")
_SNAKEMAKE_MAJOR = 9


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose settings, as `snakefold run` has them."""
    parser.add_argument("input", nargs="*", help="FASTA, CSV or A3M files, or folders")
    parser.add_argument("--configfile", type=Path, help="YAML file of settings (config/README.md lists them)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting; the value is read as YAML",
    )
    parser.add_argument(
        "--workflow-profile",
        "--profile",
        dest="profile",
        metavar="PROFILE",
        default="default",
        help="how jobs would be run: a folder of profiles/ or a path",
    )


def settings_of(options: argparse.Namespace) -> Config:
    """The configuration as Snakemake would put it together.

    config/config.yaml comes first, then `--configfile`, then `--set`; a profile's `configfile:` and `config:`
    stand for those options where they are not given, as any option in a profile does.

    Raises:
        ConfigError: a file cannot be read, or a setting is wrong.
    """
    profile = _profile(options.profile)
    values: dict[str, Any] = {}
    _update(values, _mapping(house() / "config" / "config.yaml"))
    files = [options.configfile] if options.configfile else list(profile.configfiles)
    for path in files:
        _update(values, _mapping(path))
    given = settings_arguments(options) or list(profile.config)
    _update(values, dict(_named_value(item) for item in given))
    source = ", ".join(["config/config.yaml", *map(str, files), *(["--set"] if options.set else [])])
    return load_config(values, source)


@dataclass(frozen=True)
class _Profile:
    """What a profile says about settings: its `configfile:` and, as `name=value`, its `config:`."""

    configfiles: tuple[Path, ...] = ()
    config: tuple[str, ...] = ()


def _profile(name: str) -> _Profile:
    """What stands in a profile: of several versions of its file, the newest that is not too new."""
    folder = house() / "profiles" / name
    folder = folder if folder.is_dir() else Path(name)
    if folder.is_file():
        return _read_profile(folder)
    if not folder.is_dir():
        raise SnakefoldError(f"{name}: no such profile. Give a folder of profiles/, or a path.")
    matches = ((_PROFILE_FILE.fullmatch(path.name), path) for path in folder.iterdir())
    versions = [(int(match[1] or 0), path) for match, path in matches if match]
    fitting = [item for item in versions if item[0] <= _SNAKEMAKE_MAJOR]
    return _read_profile(max(fitting)[1]) if fitting else _Profile()


def _read_profile(path: Path) -> _Profile:
    entries = _mapping(path)
    files = entries.get("configfile", entries.get("configfiles")) or []
    if not isinstance(files, list):
        # One name is looked up beside the profile first; a list is taken as it stands.
        name = Path(os.path.expandvars(str(files))).expanduser()
        files = [path.parent / name if (path.parent / name).exists() else name]
    config = entries.get("config") or []
    if isinstance(config, dict):
        config = [f"{name}={_quoted(value)}" for name, value in config.items()]
    return _Profile(tuple(Path(str(name)) for name in files), tuple(map(str, config)))


def _quoted(value: object) -> object:
    """A text that looks like a number stays a text."""
    try:
        is_number = isinstance(value, str) and bool(str(float(value)))
    except ValueError:
        is_number = False
    return repr(value) if is_number else value


def _mapping(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected settings as `name: value` lines.")
    return values


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
