"""Settings of the service: what is documented, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from snakefold.kernel.errors import ConfigError, SnakefoldError
from snakefold.service.check import check_settings
from snakefold.service.settings import read_settings
from snakefold.service.tickets import served_by
from tests.service.running import HOUSE


def test_the_documented_table_is_that_of_the_settings() -> None:
    command = [sys.executable, "-m", "snakefold.service.settings"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (HOUSE / "docs" / "service-settings.md").read_text() == said, " ".join(command)


def test_the_command_line_is_laid_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    path.write_text("port: 1\nworkers: {jobs: 3}\n")
    settings = read_settings(path, {"port": 2, "workers.runs": 4})
    assert (settings.port, settings.workers.jobs, settings.workers.runs) == (2, 3, 4)


@pytest.mark.parametrize(
    "text",
    [
        "prot: 1",
        "port: 70000",
        "limits: {body_mb: 0}",
        "queue: amqp://x",
        "queue: redis://:secret@host/0",
        "results: soon",
        "workers: {jobs: -1}",
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"service\.yaml: 1 wrong setting") as told:
        read_settings(path, {})
    assert "secret@" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tokens: /nowhere/tokens.yaml", "tokens: /nowhere/tokens.yaml"),
        ("profile: nosuch", "profile: nosuch: no such profile"),
        ("configfile: /nowhere.yaml", "configfile: /nowhere.yaml"),
        ("configfile: config.yaml", "mssa"),
        (
            "openfold: {engine: opnfold}",
            "openfold.engine: opnfold: no such engine. There are: af3, ",
        ),
        ("nim: {alphafold2: {engine: alphafold2, settings: {nosuch: 2}}}", "nosuch: no such setting"),
        ("nim: {openfold2: {1: {engine: x}}}", "nim.openfold2.1.engine: x"),
        ("store: s4://bucket/x", "store: "),
        ("folder: /proc/x", "folder: /proc/x cannot be written"),
        ("folder: /proc", "folder: /proc cannot be written"),
    ],
)
def test_what_is_not_there_is_named_before_anybody_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("mssa: {tool: mmseqs}\n")
    (tmp_path / "service.yaml").write_text(text)
    with pytest.raises(ConfigError, match="1 wrong setting") as told:
        check_settings(read_settings(Path("service.yaml"), {}))
    assert said in str(told.value)


def test_the_defaults_are_served_and_the_demo_databases_are_not(tmp_path: Path) -> None:
    settings = read_settings(None, {"folder": tmp_path / "service"})
    check_settings(settings)
    with pytest.raises(SnakefoldError, match="db_preset is demo"):
        served_by(settings)
    (tmp_path / "config.yaml").write_text("msa: {db_preset: demo}\n")
    assert (
        served_by(settings.model_copy(update={"configfile": tmp_path / "config.yaml"})).msa.db_preset
        == "demo"
    )
