"""Clusters of two nodes with a GPU each, and a user's folder on them."""

from __future__ import annotations

import os
import shutil
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
import yte

from tests.servers.slurm import Node, Slurm, running

PROFILE = Path(__file__).resolve().parents[2] / "profiles" / "slurm"

NODES = (Node("node1", "a100"), Node("node2", "l40s"))

#: What the file of the site says.
SITE: dict[str, Any] = {
    "slurm": {
        "partition": "cpu",
        "gpus": {
            "ampere_80": {"partition": "gpu", "model": "a100"},
            "ada_48_pro": {"partition": "gpu", "constraint": "l40s"},
        },
    },
    "gpu": {"classes": ["ampere_80", "ada_48_pro"], "workers": {"ampere_80": 1, "ada_48_pro": 1}},
}

#: As a user would, but for the seconds between looks at the queue.
POLLING = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")


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

    def start(self, *command: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a run in a process group of its own; what it says is in `log`."""
        with (self.folder / "run.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment or self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def jobs(self, rule: str) -> list[dict[str, str]]:
        """Jobs of a rule of this folder, in the order of their ids, as slurmctld has them now."""
        jobs = [job for job in self.slurm.jobs() if job["WorkDir"] == str(self.folder)]
        jobs = [job for job in jobs if job["Comment"].startswith(f"rule_{rule}")]
        return sorted(jobs, key=lambda job: int(job["JobId"]))


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


def profile() -> dict[str, object]:
    """The profile as Snakemake reads it."""
    return dict(yte.process_yaml((PROFILE / "config.v9+.yaml").read_text(), require_use_yte=True))


def forgetful(slurm: Slurm, folder: Path, seconds: int) -> dict[str, str]:
    """Variables of a shell in which `slurm` says that it forgets a job so many seconds after its end."""
    tool = folder / "bin" / "scontrol"
    tool.parent.mkdir()
    real = shutil.which("scontrol")
    tool.write_text(
        f'#!/bin/sh\nsaid=$({real} "$@") || exit\n'
        rf"""printf '%s\n' "$said" | sed 's/^\(MinJobAge *= \)[0-9]*/\1{seconds}/'"""
    )
    tool.chmod(0o755)
    return slurm.environment | {"PATH": f"{tool.parent}{os.pathsep}{slurm.environment['PATH']}"}


def start_small(
    site: Site, shell: str, *options: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A workflow of one job under the profile."""
    (site.folder / "Snakefile").write_text(
        f"""rule msa:
    output: "done"
    retries: 1
    resources: slurm_account=config["slurm"].get("account"), slurm_partition=config["slurm"]["partition"]
    shell: "{shell}"
"""
    )
    command = (sys.executable, "-m", "snakemake", "--workflow-profile", "slurm", *POLLING, *options)
    return site.start(*command, "--default-resources", "mem_mb=500", environment=environment)


def wait_for(what: Callable[[], object], site: Site, process: subprocess.Popen[bytes]) -> None:
    """Wait until something is so; fail with the run's log if the run ends before."""
    # What hangs must end some day; a busy machine may take as long as it likes.
    deadline = time.monotonic() + 3600
    while not what():
        assert process.poll() is None and time.monotonic() < deadline, site.log
        time.sleep(0.4)


def wait_for_nodes(slurm: Slurm) -> None:
    """Wait until every node of the cluster is idle."""
    deadline = time.monotonic() + 600
    while set(slurm.node_states().values()) != {"idle"}:
        assert time.monotonic() < deadline, slurm.node_states()
        time.sleep(0.4)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with running(tmp_path_factory.mktemp("slurm") / "cluster", NODES) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def accounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """With slurmdbd."""
    with running(tmp_path_factory.mktemp("slurmdbd") / "cluster", NODES, accounting=True) as cluster:
        yield cluster
