"""The conda environments ask for the versions that the lock file has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
#: Programs and parts of conda that no lock file of pip has.
CONDA_ONLY = {"python", "pip", "hhsuite", "mmseqs2", "kalign2", "hmmer"}


def locked() -> dict[str, str]:
    """Version by package for Python 3.11, as pip resolved them."""
    versions: dict[str, str] = {}
    for line in (ROOT / "requirements" / "run.lock").read_text().splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)(.*)", line)
        if match and ">= '3.12'" not in match.group(3):
            versions[match.group(1).lower()] = match.group(2)
    return versions


@pytest.mark.parametrize("name", ["msa", "predict", "report"])
def test_environments_ask_for_the_locked_versions(name: str) -> None:
    environment = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())
    packages: list[str] = []
    for item in environment["dependencies"]:
        packages += item["pip"] if isinstance(item, dict) else [item]
    versions = locked()
    pinned = [re.split("=+", package) for package in packages if package != "pip"]
    assert all(len(pin) == 2 for pin in pinned)
    wrong = {
        package: version
        for package, version in pinned
        if package not in CONDA_ONLY and f"{versions[package]}.".startswith(f"{version}.") is False
    }
    assert not wrong
    assert ["python", "3.11"] in pinned
