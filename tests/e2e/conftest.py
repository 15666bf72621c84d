"""Runs of the whole workflow on the command line, in an empty folder."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
VILLIN = "LSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF"
TRP_ZIPPER = "GSWTWENGKWTWKGSWTWENGKWTWK"


@dataclass
class Run:
    """A run in `folder`; `call` is `snakefold` as a user types it."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).parent / "snakefold"), *arguments]

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start without waiting, in a process group of its own."""
        with (self.folder / "started.log").open("wb") as log:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def results(self) -> Path:
        return self.folder / "results"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))
