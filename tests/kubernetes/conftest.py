"""A user's folder in the pod that Snakemake runs in, a cluster, and a bucket."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.cluster import Cluster, Node, Pod
from tests.servers.seaweedfs import WRITER, SeaweedFS, serving

HOUSE = Path(__file__).resolve().parents[2]
PROFILE = HOUSE / "profiles" / "kubernetes"
IMAGE = "registry.example.org/snakefold:1"
#: The network is compiled as quickly as can be.
IMAGE_ENVIRONMENT = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
}
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}

#: The GPU node that the plan does not mean comes first, and a node of neither kind.
NODES = (
    Node("g6e.2xlarge", {"cpu": "8", "memory": "64Gi", "ephemeral-storage": "100G", "nvidia.com/gpu": "1"}),
    Node("m5.large", {"cpu": "2", "memory": "8Gi", "ephemeral-storage": "100G"}),
    Node("c6i.4xlarge", {"cpu": "16", "memory": "32Gi", "ephemeral-storage": "100G"}),
    Node(
        "g5.2xlarge",
        {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100G", "nvidia.com/gpu": "1"},
        [GPU_TAINT],
    ),
)


def manifests() -> list[dict[str, Any]]:
    """All that docs/kubernetes.md has the user apply."""
    return [
        each
        for path in sorted((PROFILE / "manifests").iterdir())
        for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


@dataclass
class Run:
    """A run of the workflow on the cluster, over."""

    cluster: Cluster
    s3: SeaweedFS
    folder: Path
    returncode: int
    log: str

    def pods(self, rule: str) -> list[Pod]:
        return [pod for pod in self.cluster.history if pod.rule == rule]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One target from FASTA to report; its first prediction is killed for its memory."""
    folder = tmp_path_factory.mktemp("kubernetes")
    with serving(folder / "s3", "my-bucket") as s3:
        killed: list[Pod] = []

        def kills(pod: Pod) -> bool:
            if pod.rule != "predict" or killed:
                return False
            killed.append(pod)
            return True

        with Cluster(folder, manifests(), NODES, IMAGE_ENVIRONMENT, kills) as cluster:
            yield Run(cluster, s3, folder / "driver" / "workdir", *_fold(cluster, s3))


def _fold(cluster: Cluster, s3: SeaweedFS) -> tuple[int, str]:
    # As deep as pods' folders are: there and here it is /workdir, and the Snakefile is named from there.
    work = cluster.folder / "driver" / "workdir"
    work.mkdir(parents=True)
    snakefold = str(Path(sys.executable).with_name("snakefold"))
    install = [snakefold, "profiles", "install", "--copy", "kubernetes", "--folder", "."]
    subprocess.run(install, check=True, cwd=work, capture_output=True)
    site = yaml.safe_load((work / "kubernetes" / "site.yaml").read_text())
    site |= {
        "store": s3.location("my-bucket", "store"),
        "msa": {"tool": "single_sequence", "threads": 4, "mem_mb": 3000},
        "predict": {"threads": 2, "mem_mb": 4000},
        "weights": "rehearsal",
        "rehearsal": {"models": [1], "num_recycle": 0, "blocks": 1},
        "relax": {"models_to_relax": "none"},
    }
    site["kubernetes"]["machine_type"] = "c6i.4xlarge"
    (work / "kubernetes" / "site.yaml").write_text(yaml.safe_dump(site))
    (work / "set.fasta").write_text(">one\nMKTAYIAKQRQISFVKSHFSRQLE\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SNAKE"))}
    environment = {
        **kept,
        **WRITER.environment(),
        "KUBECONFIG": str(cluster.kubeconfig()),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "SNAKEFOLD_IMAGE": IMAGE,
        "SNAKEFOLD_STORAGE": "s3://my-bucket/runs",
        "SNAKEFOLD_REHEARSAL_BLOCKS": "1",
        # What the plan draws stands for the parameters on the volume.
        "SNAKEFOLD_WEIGHTS": str(work / ".snakefold" / "rehearsal-1-blocks"),
        "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": s3.endpoint,
    }
    polling = ("--seconds-between-status-checks", "1")
    done = subprocess.run(
        [snakefold, "run", "set.fasta", "--profile", "./kubernetes", "--", *polling],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
