"""Both images, built for machines without a GPU on a Debian that is bootstrapped here, without a registry."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
BASE = "docker.io/library/debian:bookworm-slim"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

#: runc and cgroupfs: there may be no systemd. The limits are what an unprivileged host allows.
PODMAN = ["podman", "--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=file"]
LIMITS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"]
RUN = [*PODMAN, "run", "--rm", *LIMITS, "--network=host"]


@dataclass(frozen=True)
class Images:
    """Name of the final image, what its build said, and the environment in which podman finds it."""

    name: str
    log: str
    environment: Mapping[str, str]

    def run(
        self, *command: str, options: Sequence[str] = (), entrypoint: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a new container."""
        chosen = [*options, *([f"--entrypoint={entrypoint}"] if entrypoint is not None else [])]
        return subprocess.run(
            [*RUN, *chosen, self.name, *command],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )

    def size(self) -> int:
        """Bytes of all layers."""
        said = call(["podman", "image", "inspect", "--format={{.Size}}", self.name], self.environment)
        return int(said.stdout)


def call(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, check=False, cwd=HOUSE
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    folder = tmp_path_factory.mktemp("images")
    storage = folder / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
    )
    pip = folder / "pip.conf"
    pip.write_text(f"[global]\ncert = {CERTIFICATES}\n" if CERTIFICATES.is_file() else "")
    environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage)}
    debian = folder / "debian.tar"
    try:
        bootstrap = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates"]
        call([*bootstrap, "bookworm", str(debian)], environment)
        path = "ENV=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        call(["podman", "import", "--quiet", f"--change={path}", str(debian), BASE], environment)
        debian.unlink()
        options = (
            "--isolation=chroot --network=host --pull-never "
            f"--volume=/etc/ssl/certs:/etc/ssl/certs:ro --secret=id=pip.conf,src={pip}"
        )
        built = call(
            ["containers/build_and_push.sh", "--no-push", "--cpu"],
            {**environment, "BUILDER": "buildah", "BUILD_OPTIONS": options, "IMAGE_NAME": "snakefold-test"},
        )
        yield Images(built.stdout.splitlines()[-1], built.stdout + built.stderr, environment)
    finally:
        # Of these tests alone: the storage is theirs.
        call(["podman", "rm", "--all", "--force", "--time=0"], environment)
        subprocess.run(
            ["buildah", "rmi", "--all", "--force"], env=environment, check=False, capture_output=True
        )
        shutil.rmtree(folder, ignore_errors=True)
