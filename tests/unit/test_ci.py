"""The workflow file of continuous integration: it parses, and runs what there is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from snakefold import __version__

HOUSE = Path(__file__).resolve().parents[2]
JOBS: dict[str, Any] = yaml.safe_load((HOUSE / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
#: Programs that the machines of a job bring, or that it installs before it calls them.
BROUGHT = {"apt-get", "git", "grep", "python"}
STEPS = [(name, step) for name, job in JOBS.items() for step in job["steps"]]
SCRIPTS = [(name, step["run"]) for name, step in STEPS if "run" in step]


def commands(script: str) -> list[list[str]]:
    return [shlex.split(part) for line in script.splitlines() for part in line.split(" | ")]


@pytest.mark.parametrize(("job", "script"), SCRIPTS)
def test_its_commands_exist(job: str, script: str) -> None:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    for program, *arguments in commands(script):
        own = HOUSE / program
        assert program in BROUGHT or ("/" in program and os.access(own, os.X_OK)), f"{job}: {program}"
        for argument in arguments:
            if argument.startswith("plugins/"):
                assert (HOUSE / argument / "pyproject.toml").is_file(), argument


def test_it_runs_the_checks_and_builds_the_wheels() -> None:
    programs = [program for name, script in SCRIPTS if name == "test" for program, *_ in commands(script)]
    assert programs[-1] == ".ci/run"
    assert any("pip wheel" in script for name, script in SCRIPTS if name == "wheel")


def test_its_python_is_the_one_that_the_locks_are_for() -> None:
    versions = re.findall(r"--python-version (\S+)", (HOUSE / "Makefile").read_text())
    setup = [step["with"]["python-version"] for _, step in STEPS if "setup-python" in step.get("uses", "")]
    image = JOBS["test"]["container"]["image"].removeprefix("python:").removesuffix("-bookworm")
    added = [version for _, script in SCRIPTS for version in re.findall(r"uv python install (\S+)", script)]
    assert {*setup, image, *added} == set(versions)


def test_it_installs_what_ci_run_looks_for() -> None:
    """They are named in both: .ci/run installs what is missing wherever it is started."""
    pairs = re.findall(r"\b([a-z]+):([a-z-]+)", (HOUSE / ".ci" / "run").read_text())
    (line,) = (
        words
        for _, script in SCRIPTS
        for words in commands(script)
        if words[0] == "apt-get" and "install" in words
    )
    assert {package for _, package in pairs} <= set(line)


def test_targets_that_ci_run_makes_exist() -> None:
    script = (HOUSE / ".ci" / "run").read_text()
    targets = re.findall(r"^make (\S+)$", script, re.MULTILINE)
    assert {"check", "test"} <= set(targets)
    rules = re.findall(r"^([a-z-]+):", (HOUSE / "Makefile").read_text(), re.MULTILINE)
    assert set(targets) <= set(rules)


def test_one_version_everywhere() -> None:
    """The newest version that the changelog closes is the package's, and the one that is cited."""
    newest = re.search(
        r"^## \[(\d\S*)\] - \d{4}-\d\d-\d\d$", (HOUSE / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert newest is not None
    assert newest[1] == __version__
    assert yaml.safe_load((HOUSE / "CITATION.cff").read_text())["version"] == __version__
