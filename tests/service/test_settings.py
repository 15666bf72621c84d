"""Settings of the service: what is documented, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from snakefold.kernel.errors import ConfigError
from snakefold.service.settings import read_settings
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
