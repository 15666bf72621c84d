"""As much of a Kubernetes cluster as Snakemake talks to: an API server on loopback whose pods are processes.

It holds requests to the Role of the manifests, manifests to Kubernetes' schema and to the rule about GPUs
that no schema has, and puts a pod on a node as the scheduler would: by selector, taints, claims and what is
requested. A pod's command is run as it stands, in an empty folder, with nothing of this process's
environment. There are no images, no cgroups and no network of pods.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

from tests.servers.processes import ends_with_parent

TOKEN = "token-of-the-service-account"  # noqa: S105
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[a-z.]+))/v1/namespaces/(?P<namespace>[^/]+)"
    r"/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+)(?:/(?P<part>[a-z]+))?)?"
)
_UNITS = {"m": 1e-3, "": 1.0, "M": 1e6, "Mi": 2.0**20, "G": 1e9, "Gi": 2.0**30}
Object = dict[str, Any]


def quantity(text: str) -> float:
    """Kubernetes' way to write a number."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    assert match and match[2] in _UNITS, text
    return float(match[1]) * _UNITS[match[2]]


def validate(manifest: Object) -> None:
    """Raise kubernetes_validate.ValidationError unless Kubernetes has such an object, field by field."""
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Node:
    """A machine of the cluster."""

    machine_type: str
    room: dict[str, str]
    taints: Sequence[Mapping[str, str]] = ()


@dataclass
class Pod:
    """One that was asked for, and what became of it."""

    job: Object
    node: Node | None = None
    exit_code: int | None = None
    process: subprocess.Popen[bytes] | None = None
    reason: str = ""
    created: str = field(default_factory=_now)
    started: str = ""
    ended: str = ""

    @property
    def name(self) -> str:
        return f"{self.job['metadata']['name']}-x7k2p"

    @property
    def spec(self) -> Object:
        return dict(self.job["spec"]["template"]["spec"])

    @property
    def container(self) -> Object:
        return dict(self.spec["containers"][0])

    @property
    def rule(self) -> str:
        found = re.search(r"--allowed-rules '?(\w+)", self.container["args"][1])
        return found[1] if found else ""

    @property
    def requests(self) -> dict[str, float]:
        return {name: quantity(value) for name, value in self.container["resources"]["requests"].items()}

    def status(self) -> Object:
        """The pod as the API shows it."""
        labels = {"job-name": self.job["metadata"]["name"]}  # the job's own are not given to its pods
        pod = {
            "metadata": {"name": self.name, "labels": labels, "creationTimestamp": self.created},
            "spec": self.spec,
        }
        if self.node is None:
            why = "0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector."
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
            return pod | {"status": {"phase": "Pending", "conditions": [condition]}}
        state: Object = {"running": {"startedAt": self.started or self.created}}
        if self.exit_code is not None:
            reason = self.reason or ("Error" if self.exit_code else "Completed")
            times = {"startedAt": self.started, "finishedAt": self.ended}
            state = {"terminated": {"exitCode": self.exit_code, "reason": reason, **times}}
        container = {"name": "snakemake", "image": "x", "imageID": "x", "ready": True, "restartCount": 0}
        return pod | {
            "spec": self.spec | {"nodeName": self.node.machine_type},
            "status": {"phase": "Running", "containerStatuses": [container | {"state": state}]},
        }


class Refused(Exception):
    """What the API server answers other than yes."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Cluster:
    """`manifests`: what was applied; `image`: its environment; `kills`: whether a pod dies as it starts."""

    folder: Path
    manifests: Sequence[Object]
    nodes: Sequence[Node]
    image: Mapping[str, str]
    kills: Callable[[Pod], bool]
    pods: dict[str, Pod] = field(default_factory=dict)
    secrets: dict[str, Object] = field(default_factory=dict)
    asked: set[tuple[str, str, str]] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    history: list[Pod] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __enter__(self) -> Cluster:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    status, said = HTTPStatus.OK, cluster.answer(self.command, self.path, body, self.headers)
                except Refused as refusal:
                    cluster.refused.append(f"{self.command} {self.path}: {refusal}")
                    status, said = refusal.status, {"kind": "Status", "message": str(refusal)}
                content = said.encode() if isinstance(said, str) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = _answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for pod in self.history:
            if pod.process is not None and pod.process.poll() is None:
                pod.process.kill()
                pod.process.wait()

    def kubeconfig(self) -> Path:
        """What kubectl and its like find the cluster by."""
        path = self.folder / "kubeconfig"
        named = {"name": "here"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [named | {"cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}],
            "users": [named | {"user": {"token": TOKEN}}],
            "contexts": [named | {"context": {"cluster": "here", "user": "here"}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def names(self, kind: str) -> set[str]:
        """Objects of a kind that were applied."""
        return {each["metadata"]["name"] for each in self.manifests if each["kind"] == kind}

    def answer(self, method: str, address: str, body: bytes, headers: Any) -> Object | str:
        """What the API server says to a request."""
        url = urlsplit(address)
        match, query = _PATH.fullmatch(url.path), parse_qs(url.query)
        if match is None:
            raise Refused(HTTPStatus.NOT_FOUND, "the server could not find the requested resource")
        self._authorize(method, match, headers)
        resource, name, part = match["resource"], match["name"] or "", match["part"]
        given = json.loads(body) if body else {}
        with self._lock:
            if method == "POST":
                return self._create(resource, given)
            if resource == "jobs" and part == "status":
                return self._job(self._found(name))
            if resource == "pods" and part == "log":
                # The kubelet's words: a container that was never started again has no log of before.
                if query.get("previous", [""])[0].lower() == "true":
                    raise Refused(HTTPStatus.BAD_REQUEST, "previous terminated container not found")
                return (self.folder / name / "log").read_text()
            if resource == "pods" and method == "GET":
                _, _, job = query["labelSelector"][0].partition("job-name=")
                items = [pod.status() for name, pod in self.pods.items() if job in {"", name}]
                return {"kind": "PodList", "apiVersion": "v1", "items": items}
            if resource == "secrets":
                self.secrets.pop(name, None)
            elif resource == "jobs":
                self._end(self._found(name))
                del self.pods[name]
            return {"kind": "Status", "status": "Success"}

    def _authorize(self, method: str, match: re.Match[str], headers: Any) -> None:
        if headers["Authorization"] != f"Bearer {TOKEN}":
            raise Refused(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        verb = {"POST": "create", "DELETE": "delete", "GET": "get" if match["name"] else "list"}[method]
        resource = f"{match['resource']}/{match['part']}" if match["part"] else match["resource"]
        wanted = (match["group"] or "", resource, verb)
        if match["namespace"] not in self.names("Namespace") or wanted not in self.allowed():
            raise Refused(HTTPStatus.FORBIDDEN, f"cannot {verb} {resource} in {match['namespace']}")
        self.asked.add(wanted)

    def allowed(self) -> set[tuple[str, str, str]]:
        """Group, resource and verb of all that the Role permits."""
        (role,) = (each for each in self.manifests if each["kind"] == "Role")
        return {
            (group, resource, verb)
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    def _found(self, job: str) -> Pod:
        if job not in self.pods:
            raise Refused(HTTPStatus.NOT_FOUND, f'jobs.batch "{job}" not found')
        return self.pods[job]

    def _create(self, resource: str, given: Object) -> Object:
        # The Python client leaves out what it was not told; the API's address has it.
        kinds = {"jobs": ("batch/v1", "Job"), "secrets": ("v1", "Secret")}
        version, kind = kinds[resource]
        given = {"apiVersion": version, "kind": kind} | given
        try:
            validate(given)
        except kubernetes_validate.ValidationError as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error.json_path}: {error.message}") from error
        name = given["metadata"]["name"]
        if resource == "secrets":
            self.secrets[name] = given
            return given
        pod = Pod(given)
        asked = pod.container["resources"]
        for each, number in asked["requests"].items():
            if "/" in each and asked.get("limits", {}).get(each) != number:
                message = f"{each}: Limit must be set for non overcommitable resources"
                raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, message)
        if pod.spec.get("serviceAccountName", "default") not in self.names("ServiceAccount"):
            raise Refused(HTTPStatus.FORBIDDEN, "service account not found")
        self.pods[name] = pod
        self.history.append(pod)
        self._schedule()
        return given

    def _job(self, pod: Pod) -> Object:
        count = "active" if pod.exit_code is None else "failed" if pod.exit_code else "succeeded"
        return pod.job | {"status": {count: 1}}

    def _fits(self, pod: Pod, node: Node) -> bool:
        labels = {"node.kubernetes.io/instance-type": node.machine_type}
        tolerated = [
            {name: each[name] for name in ("key", "value", "effect")}
            for each in pod.spec.get("tolerations", ())
        ]
        there = [each for each in self.pods.values() if each.node is node and each.exit_code is None]
        room = {name: quantity(value) for name, value in node.room.items()}
        claims = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod.spec["volumes"]
            if "persistentVolumeClaim" in volume
        }
        return (
            (pod.spec.get("nodeSelector") or {}).items() <= labels.items()
            and all(taint in tolerated for taint in node.taints)
            and claims <= self.names("PersistentVolumeClaim")
            and all(
                number + sum(other.requests.get(name, 0) for other in there) <= room.get(name, 0)
                for name, number in pod.requests.items()
            )
        )

    def _schedule(self) -> None:
        for pod in self.pods.values():
            node = next((each for each in self.nodes if self._fits(pod, each)), None)
            if pod.node is None and pod.exit_code is None and node is not None:
                pod.node = node
                threading.Thread(target=self._run, args=(pod,), daemon=True).start()

    def _run(self, pod: Pod) -> None:
        folder = self.folder / pod.name
        (folder / "workdir").mkdir(parents=True)
        path = f"{Path(sys.executable).parent}:{os.defpath}"
        environment = {**self.image, "PATH": path, "HOME": str(folder)}
        for each in pod.container.get("env") or ():
            key = each["valueFrom"]["secretKeyRef"]
            value = self.secrets[key["name"]]["data"][key["key"]]
            environment[each["name"]] = base64.b64decode(value).decode()
        pod.started = _now()
        with self._lock, (folder / "log").open("wb") as log:
            if not (killed := self.kills(pod)):
                pod.process = subprocess.Popen(
                    [*ends_with_parent(), *pod.container["command"], *pod.container["args"]],
                    cwd=folder / "workdir",
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        code = 137 if killed or pod.process is None else pod.process.wait()
        with self._lock:
            pod.ended, pod.reason = _now(), "OOMKilled" if killed else ""
            pod.exit_code = code if code >= 0 else 128 - code
            self._schedule()

    def _end(self, pod: Pod) -> None:
        if pod.process is not None and pod.process.poll() is None:
            os.killpg(pod.process.pid, 9)
