"""A cluster of two nodes with a GPU each, and runs of the whole workflow on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from tests.servers.slurm import Node, Slurm, running

NODES = (Node("node1", "a100"), Node("node2", "l40s"))

#: Targets of one length: one program, compiled once.
TARGETS = {
    "one": "MKTAYIAKQRQISFVKSHFSRQLE",
    "two": "GSWTWENGKWTWKGSWTWENGKWT",
    "three": "LSDEDFKAVFGMTRSAFANLPLWK",
}

#: What the file of the site says, and as little work as possible.
SITE: dict[str, Any] = {
    "slurm": {
        "partition": "cpu",
        "gpus": {
            "ampere_80": {"partition": "gpu", "model": "a100"},
            "ada_48_pro": {"partition": "gpu", "constraint": "l40s"},
        },
    },
    "gpu": {"classes": ["ampere_80", "ada_48_pro"], "workers": {"ampere_80": 1, "ada_48_pro": 1}},
    "objective": "time",
    "weights": "rehearsal",
    "msa": {"tool": "single_sequence", "threads": 2, "mem_mb": 1000},
    "predict": {"threads": 1, "mem_mb": 2000},
    "batch": {"max_targets": 1},
    "rehearsal": {"models": [1], "num_recycle": 0, "blocks": 1},
    "relax": {"models_to_relax": "none"},
}


@dataclass
class Site:
    """A user's folder on the login node of `slurm`, with the profile installed and filled in."""

    slurm: Slurm
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | self.slurm.environment

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def log(self) -> str:
        return (self.folder / "run.log").read_text()

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("snakefold")), *arguments]

    def start(self, *names: str) -> subprocess.Popen[bytes]:
        """Start a run of these targets as a user would, but for the seconds between looks at the queue."""
        text = "".join(f">{name}\n{TARGETS[name]}\n" for name in names)
        (self.folder / "set.fasta").write_text(text)
        polling = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")
        with (self.folder / "run.log").open("wb") as log:
            return subprocess.Popen(
                self.command("run", "set.fasta", "--profile", "./slurm", "--", *polling),
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def jobs(self, rule: str) -> list[dict[str, str]]:
        """Jobs of a rule of this folder, as slurmctld has them now."""
        jobs = [job for job in self.slurm.jobs() if job["WorkDir"] == str(self.folder)]
        return [job for job in jobs if job["Comment"].startswith(f"rule_{rule}")]


def make_site(slurm: Slurm, folder: Path, settings: Mapping[str, object] = MappingProxyType({})) -> Site:
    """`settings` take the place of those of `SITE`."""
    site = Site(slurm, folder)
    subprocess.run(
        site.command("profiles", "install", "--copy", "slurm", "--folder", "."),
        check=True,
        cwd=folder,
        capture_output=True,
    )
    (folder / "slurm" / "site.yaml").write_text(yaml.safe_dump(SITE | dict(settings)))
    return site


def wait_for(what: Callable[[], object], site: Site, process: subprocess.Popen[bytes]) -> None:
    """Wait until something is so; fail with the run's log if the run ends before."""
    deadline = time.monotonic() + 900
    while not what():
        assert process.poll() is None and time.monotonic() < deadline, site.log
        time.sleep(0.4)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with running(tmp_path_factory.mktemp("slurm") / "cluster", NODES) as cluster:
        yield cluster
