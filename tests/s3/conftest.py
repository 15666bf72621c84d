"""An S3 server, and runs of the whole workflow whose jobs share nothing but that server."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from snakefold.kernel.paths import house
from tests.servers.seaweedfs import WRITER, Keys, SeaweedFS, serving

BUCKET = "lab"

PLUGINS = [Path(__file__).with_name("plugins"), Path(__file__).parents[1] / "images" / "plugins"]

#: Two targets of one padded length: one batch, one program.
TARGETS = {"one": "MKTAYIAKQRQISFVKSHFS", "two": "GSWTWENGKWTWKGSWTWENG"}

#: As little work as there can be.
SETTINGS: dict[str, Any] = {
    "weights": "rehearsal",
    "msa": {"tool": "single_sequence", "threads": 1, "mem_mb": 500},
    "predict": {"threads": 1, "mem_mb": 1000},
    "rehearsal": {"models": [1], "num_recycle": 0, "blocks": 1},
    "relax": {"models_to_relax": "none"},
    "input": ["set.fasta"],
}


@dataclass
class Site:
    """A user's checkout, that Snakemake is started in, with files and store below a prefix of a bucket."""

    folder: Path
    server: SeaweedFS
    prefix: str
    endpoint: str = ""
    keys: Keys = WRITER
    settings: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    executor: str = "pod"
    tries: int = 15

    def __post_init__(self) -> None:
        self.endpoint = self.endpoint or self.server.endpoint
        for part in ("workflow", "config", "profiles"):
            shutil.copytree(house() / part, self.folder / part)
        # Snakemake asks git which files jobs elsewhere need.
        for words in (("init", "--quiet"), ("add", ".")):
            subprocess.run(["git", *words], cwd=self.folder, check=True)
        self.write({**SETTINGS, "store": self.store, **self.settings})
        (self.folder / "set.fasta").write_text("".join(f">{name}\n{TARGETS[name]}\n" for name in TARGETS))

    def write(self, settings: Mapping[str, Any]) -> None:
        (self.folder / "site.yaml").write_text(yaml.safe_dump(dict(settings)))

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def pods(self) -> Path:
        """Folders of jobs that were started, elsewhere."""
        return self.folder.with_name(f"{self.folder.name}-pods")

    def planned(self, what: str) -> list[str]:
        """Names of the plan's `chunks` or `batches`."""
        return sorted(path.stem for path in (self.results / "plan" / what).glob("*.json"))

    def started(self, rule: str) -> list[Path]:
        return sorted(self.pods.glob(f"{rule}.*"))

    def end_pods(self) -> None:
        """What a user does whose Snakemake ended without it: pods that nobody waits for are deleted."""
        for pod in self.pods.glob("*"):
            if not (pod / "status").exists():
                with suppress(ProcessLookupError, FileNotFoundError):
                    os.killpg(int((pod / "pid").read_text()), signal.SIGKILL)
                (pod / "status").write_text("deleted")

    @property
    def store(self) -> str:
        """Where results are, by content."""
        return f"s3://{BUCKET}/{self.prefix}/store?endpoint_url={self.endpoint}&region=us-east-1"

    @property
    def published(self) -> str:
        """Where results are for others to look at."""
        return self.store.replace("/store?", "/published?")

    @property
    def files(self) -> str:
        """Where files are on their way between the machines."""
        return f"s3://{BUCKET}/{self.prefix}/files"

    @property
    def command(self) -> list[str]:
        """What docs/s3.md says to type, with the executor of these tests."""
        return [
            *(sys.executable, "-m", "snakemake", "--configfile", "site.yaml", "--workflow-profile"),
            *("profiles/default", "--executor", self.executor, "--jobs", "2"),
            *("--default-storage-provider", "s3", "--default-storage-prefix", self.files),
            *("--storage-s3-endpoint-url", self.endpoint),
            *("--storage-s3-retries", str(self.tries)),
            *("--envvars", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ]

    @property
    def environment(self) -> dict[str, str]:
        nothing = str(self.folder / "nothing")
        given = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **given,
            **self.keys.environment(),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": nothing,
            "AWS_SHARED_CREDENTIALS_FILE": nothing,
            "NO_PROXY": "127.0.0.1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PODS": str(self.pods),
            "PYTHONPATH": os.pathsep.join(map(str, PLUGINS)),
            "SNAKEFOLD_REHEARSAL_BLOCKS": "1",
            # The network is compiled as quickly as can be.
            "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
            **self.variables,
        }

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "run.log").open("wb") as log:
            return subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def metrics(self) -> dict[str, dict[str, str]]:
        with (self.results / "metrics.tsv").open(newline="") as table:
            return {row["id"]: row for row in csv.DictReader(table, delimiter="\t")}

    def names(self, below: str = "") -> list[str]:
        """Objects of the bucket below the site's prefix."""
        start = f"{self.prefix}/{below}"
        pages = self.server.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=start)
        return [item["Key"].removeprefix(start) for page in pages for item in page.get("Contents", [])]


def wait_for(what: Callable[[], object], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with serving(tmp_path_factory.mktemp("seaweedfs") / "server", BUCKET) as running:
        yield running
