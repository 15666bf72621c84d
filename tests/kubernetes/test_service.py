"""The service as it is deployed: manifests, the unit of systemd, nginx. Nothing is started."""

from __future__ import annotations

import copy
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from snakefold.cli import parse
from snakefold.service.kinds import KINDS
from snakefold.service.settings import REDIS_PASSWORD, ServiceSettings, read_settings
from tests.kubernetes.cluster import validate
from tests.kubernetes.conftest import GPU_TAINT, HOUSE, manifests

SERVICE = HOUSE / "profiles" / "service"
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((SERVICE / "kubernetes.yaml").read_text()))


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    return {name: each["spec"]["template"]["spec"] for name, each in named("Deployment").items()}


def settings_of(folder: Path, name: str) -> ServiceSettings:
    path = folder / name
    path.write_text(named("ConfigMap")["snakefold-service"]["data"][name])
    return read_settings(path, {})


@pytest.mark.parametrize("manifest", OBJECTS, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_kubernetes_has_every_field(manifest: dict[str, Any]) -> None:
    validate(manifest)
    wrong = copy.deepcopy(manifest)
    wrong["metadata"]["nam"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(wrong)


def test_what_is_named_is_there() -> None:
    claims = {each["metadata"]["name"] for each in manifests() if each["kind"] == "PersistentVolumeClaim"}
    accounts = {each["metadata"]["name"] for each in manifests() if each["kind"] == "ServiceAccount"}
    text = (SERVICE / "kubernetes.yaml").read_text()
    secrets = set(re.findall(r"^#   kubectl create secret generic -n snakefold (\S+)", text, re.MULTILINE))
    for name, pod in pods().items():
        assert pod.get("serviceAccountName", "snakefold") in accounts
        volumes = {each["name"]: each for each in pod["volumes"]}
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys(), name
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert claim in claims | named("PersistentVolumeClaim").keys()
            if "configMap" in volume:
                assert volume["configMap"]["name"] in named("ConfigMap")
            if "secret" in volume:
                assert volume["secret"]["secretName"] in secrets
        for variable in container["env"]:
            if "valueFrom" in variable:
                assert variable["valueFrom"]["secretKeyRef"]["name"] in secrets
                named_key = variable["valueFrom"]["secretKeyRef"]
                assert re.search(rf"{named_key['name']} --from-(literal|file)={named_key['key']}\b", text)
    for service in named("Service").values():
        labels = [each["spec"]["template"]["metadata"]["labels"] for each in named("Deployment").values()]
        assert service["spec"]["selector"] in labels
    assert not named("Secret")


def test_the_settings_are_valid_and_fit_together(tmp_path: Path) -> None:
    server, workers = (settings_of(tmp_path, name) for name in ("server.yaml", "workers.yaml"))
    assert server.folder == workers.folder
    assert server.queue == workers.queue
    host, port = re.fullmatch(r"redis://([^:/]+):(\d+)/\d+", server.queue).groups()  # type: ignore[union-attr]
    assert named("Service")[host]["spec"]["ports"][0]["port"] == int(port)
    assert "snakefold" in server.names
    assert server.shared_store == workers.shared_store
    # Every kind of work that is taken has somebody who does it.
    for kind in ("jobs", "runs", "quotes"):
        assert getattr(server.workers, kind) + getattr(workers.workers, kind) >= 1
    for name in ("snakefold-server", "snakefold-worker"):
        (container,) = pods()[name]["containers"]
        mounts = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
        assert container["args"][0] == "snakefold"
        options = parse(container["args"][1:])
        assert options.only_workers == (name == "snakefold-worker")
        assert options.config.parent in mounts
        assert server.folder in mounts
        assert REDIS_PASSWORD in [each["name"] for each in container["env"]]
    (container,) = pods()["snakefold-server"]["containers"]
    assert server.tokens is not None
    assert str(server.tokens.parent) in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert container["ports"][0]["containerPort"] == server.port


def test_workers_are_on_gpu_nodes_and_scale_with_the_queue() -> None:
    pod = pods()["snakefold-worker"]
    assert pod["nodeSelector"]
    assert GPU_TAINT["key"] in [each["key"] for each in pod["tolerations"]]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    (scaler,) = named("HorizontalPodAutoscaler").values()
    assert scaler["spec"]["scaleTargetRef"]["name"] in named("Deployment")
    assert "replicas" not in named("Deployment")["snakefold-worker"]["spec"]  # the scaler's to say
    metric = scaler["spec"]["metrics"][0]["external"]["metric"]
    source = (HOUSE / "src" / "snakefold" / "service" / "metrics.py").read_text()
    assert f'"{metric["name"]}"' in source
    assert metric["selector"]["matchLabels"]["kind"] in KINDS


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (SERVICE / "snakefold.service").read_text()
    (command,) = re.findall(r"^ExecStart=\S+/snakefold (.*)$", text, re.MULTILINE)
    assert parse(command.split()).config == Path("/etc/snakefold/service.yaml")
    unit = tmp_path / "snakefold.service"
    here = text.replace("/opt/snakefold/.venv/bin/snakefold", "/bin/true")  # nothing is installed there
    unit.write_text(here.replace("User=snakefold", "User=root"))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")
    unit.write_text(here + "Nonsense=yes\n")
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert "Nonsense" in said.stderr


def test_the_settings_of_one_machine_are_valid() -> None:
    settings = read_settings(SERVICE / "service.yaml", {})
    unit = (SERVICE / "snakefold.service").read_text()
    assert str(settings.folder) == "/var/lib/snakefold"
    assert f"WorkingDirectory={settings.folder}" in unit
    proxy = (SERVICE / "nginx.conf").read_text()
    assert f"proxy_pass http://{settings.host}:{settings.port};" in proxy
    assert re.findall(r"server_name (\S+);", proxy) == [settings.names[0]] * 2
    assert f"client_max_body_size {settings.limits.upload_mb:g}m;" in proxy
    assert f"client_header_timeout {settings.limits.head_seconds:g}s;" in proxy
