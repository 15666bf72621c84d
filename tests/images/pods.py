"""Pods of profiles/service/kubernetes.yaml as containers: their users, rights, arguments and volumes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from snakefold.service.users import User, add_token
from tests.images.conftest import HOUSE, LIMITS, PODMAN, Images, call
from tests.servers.processes import ends_with_parent

_MANIFEST = HOUSE / "profiles" / "service" / "kubernetes.yaml"
_REDIS, _PASSWORD = "snakefold-redis", "se/cret+"
#: How long a test waits for what must come, on a machine that does much else.
_PATIENCE = 120.0
#: Sends the request that standard input has; the address is one of the network that it is started in.
_ASK = """
import json, sys, urllib.error, urllib.request
url, body, headers = json.load(sys.stdin)
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, body and body.encode(), headers), timeout=100)
except urllib.error.HTTPError as error:
    answer = error
except OSError:
    sys.exit("0 ")
print(answer.status, answer.read().decode(errors="replace"))
"""


@dataclass
class Pods:
    """What runs, and what it shares.

    Attributes:
        folder: one folder for each volume.
        tokens: of users, by name.
    """

    images: Images
    folder: Path
    tokens: dict[str, str] = field(default_factory=dict)
    network: int = 0

    def __post_init__(self) -> None:
        objects = list(yaml.safe_load_all(_MANIFEST.read_text()))
        self._pods = {
            each["metadata"]["name"]: each["spec"]["template"]["spec"]
            for each in objects
            if each["kind"] == "Deployment"
        }
        (files,) = (each["data"] for each in objects if each["kind"] == "ConfigMap")
        for name in ("service", "data", "config", "tokens"):
            (self.folder / name).mkdir(parents=True)
        for name, text in files.items():
            (self.folder / "config" / name).write_text(text)
        for user, admin in (("ada", False), ("admin", True), ("sets", False)):
            path = self.folder / "tokens" / "tokens.yaml"
            self.tokens[user] = add_token(path, User(user=user, admin=admin))

    def container(self, name: str) -> dict[str, Any]:
        """The one container of a pod."""
        (found,) = self._pods[name]["containers"]
        return dict(found)

    def start(self, name: str) -> None:
        """Start a pod, as the kubelet would."""
        context, container = self._pods[name]["securityContext"], self.container(name)
        group = context["fsGroup"]
        # What fsGroup means for a volume, and defaultMode for a secret.
        os.chown(self.folder / "service", 0, group)
        (self.folder / "service").chmod(0o2775)
        os.chown(self.folder / "tokens" / "tokens.yaml", 0, group)
        (self.folder / "tokens" / "tokens.yaml").chmod(0o440)
        secrets = {"snakefold-redis": _PASSWORD, "snakefold-sets": self.tokens["sets"]}
        given = {
            each["name"]: each.get("value") or secrets[each["valueFrom"]["secretKeyRef"]["name"]]
            for each in container["env"]
        }
        mounts = [
            f"--volume={self.folder / each['name']}:{each['mountPath']}"
            + (":ro" if each.get("readOnly") else "")
            for each in container["volumeMounts"]
        ]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        self._podman(
            *("run", "--detach", f"--name={name}", *LIMITS, f"--network=ns:/proc/{self.network}/ns/net"),
            *(f"--add-host={_REDIS}:127.0.0.1", f"--user={context['runAsUser']}", f"--group-add={group}"),
            *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
            *(f"--env={variable}={value}" for variable, value in given.items()),
            *mounts,
            *(self.images.name, *container["args"]),
        )

    def restart(self, name: str) -> None:
        """Start a container that was stopped."""
        self._podman("start", name)

    def stop(self, name: str) -> int:
        """End a pod within the time that it is given; its exit status, which is 137 if that was too short."""
        self._podman("stop", f"--time={self._pods[name]['terminationGracePeriodSeconds']}", name)
        return int(self._podman("inspect", "--format={{.State.ExitCode}}", name))

    def ask(
        self, path: str, body: Any = None, *, user: str = "", headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and text of the server's answer; status 0 if nobody listens."""
        (port,) = (each["containerPort"] for each in self.container("snakefold-server")["ports"])
        sent = {"Content-Type": "application/json", **(headers or {})}
        if user:
            sent["Authorization"] = f"Bearer {self.tokens[user]}"
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{self.network}/ns/net", sys.executable, "-c", _ASK],
            input=json.dumps([f"http://127.0.0.1:{port}{path}", body and json.dumps(body), sent]),
            capture_output=True,
            text=True,
            check=False,
        )
        status, _, text = (done.stdout or done.stderr).partition(" ")
        return int(status), text.strip()

    def wait_until_ready(self, name: str) -> None:
        """Ask what the kubelet asks, by the pod's address, until the answer is 200."""
        probe = self.container(name)["readinessProbe"]["httpGet"]
        until = time.monotonic() + _PATIENCE
        while (said := self.ask(probe["path"], headers={"Host": "10.42.0.7:8000"}))[0] != 200:
            assert time.monotonic() < until, (said, self.log(name))
            time.sleep(0.2)

    def log(self, name: str) -> str:
        """What a pod wrote."""
        done = subprocess.run(
            [*PODMAN, "logs", name],
            env=dict(self.images.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout

    def _podman(self, *words: str) -> str:
        return call([*PODMAN, *words], self.images.environment).stdout.strip()

    @contextmanager
    def redis(self) -> Iterator[None]:
        """The network of all pods, which one that does nothing holds, and Redis in it."""
        self._podman(
            *("run", "--detach", "--name=pause", *LIMITS, "--network=none", self.images.name),
            *("sleep", "3600"),
        )
        self.network = int(self._podman("inspect", "--format={{.State.Pid}}", "pause"))
        network = ["nsenter", f"--net=/proc/{self.network}/ns/net"]
        process = subprocess.Popen(
            [*ends_with_parent(), *network, *self.container(_REDIS)["command"]],
            cwd=self.folder,
            env={**os.environ, "REDIS_PASSWORD": _PASSWORD},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, 9)
            process.wait()
            for name in (*self._pods, "pause"):
                self._podman("rm", "--force", "--ignore", "--time=0", name)
