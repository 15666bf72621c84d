"""What the user applies: as Kubernetes would read it, and as it fits together. Nothing is started."""

from __future__ import annotations

import copy
import os
import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
import yte
from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException

from snakefold.cli import parse
from snakefold.clusters.kubernetes import read_logs_of_failed_pods
from snakefold.config import load_config
from snakefold.kernel.errors import ConfigError
from snakefold.plan.cost.gpus import load_classes
from tests.kubernetes.cluster import validate
from tests.kubernetes.conftest import HOUSE, PROFILE, manifests


def profile() -> dict[str, Any]:
    """The profile as Snakemake reads it."""
    return dict(yte.process_yaml((PROFILE / "config.v9+.yaml").read_text(), require_use_yte=True))


def pod_specs() -> dict[str, dict[str, Any]]:
    """Specs of pods by the name of what makes them."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"] if each["kind"] == "Job" else each["spec"]
        for each in manifests()
        if each["kind"] in ("Job", "Pod")
    }


@pytest.mark.parametrize(
    "manifest", manifests(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
def test_kubernetes_has_every_field(manifest: dict[str, Any]) -> None:
    validate(manifest)
    wrong = copy.deepcopy(manifest)
    wrong["metadata"]["nam"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(wrong)


def test_what_is_named_is_there() -> None:
    names = {
        kind: {each["metadata"]["name"] for each in manifests() if each["kind"] == kind}
        for kind in ("Namespace", "ServiceAccount", "PersistentVolumeClaim", "Role")
    }
    settings = profile()
    assert settings["kubernetes-namespace"] in names["Namespace"]
    assert settings["kubernetes-service-account-name"] in names["ServiceAccount"]
    claims = {each.split(":")[0] for each in settings["kubernetes-persistent-volumes"]}
    for spec in pod_specs().values():
        assert spec["serviceAccountName"] in names["ServiceAccount"]
        claims |= {volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"]}
        volumes = {volume["name"] for volume in spec["volumes"]}
        assert {mount["name"] for mount in spec["containers"][0]["volumeMounts"]} == volumes
    assert claims <= names["PersistentVolumeClaim"]
    for manifest in manifests():
        assert manifest["metadata"].get("namespace", "snakefold") in names["Namespace"]
        if manifest["kind"] == "RoleBinding":
            assert manifest["roleRef"]["name"] in names["Role"]
            assert {each["name"] for each in manifest["subjects"]} <= names["ServiceAccount"]


def test_no_manifest_holds_a_secret() -> None:
    assert not [each for each in manifests() if each["kind"] == "Secret"]
    text = "".join(path.read_text() for path in (PROFILE / "manifests").iterdir())
    assert not re.search(r"(?i)secret_access_key|AKIA", text)


def test_what_the_jobs_call_exists() -> None:
    specs = pod_specs()
    databases = specs["fetch-databases"]["containers"][0]["command"]
    assert databases[0] == "snakefold"
    options = parse(databases[1:])
    assert options.preset in yaml.safe_load((HOUSE / "resources" / "databases.yaml").read_text())
    parameters = specs["fetch-weights"]["containers"][0]["command"]
    assert (HOUSE / "containers" / parameters[0]).stat().st_mode & 0o111


def test_folders_are_the_same_everywhere() -> None:
    """Fetched to, searched, and mounted: one place."""
    (volume,) = profile()["kubernetes-persistent-volumes"]
    mounted = volume.split(":")[1]
    site = load_config(yaml.safe_load((PROFILE / "site.yaml").read_text()))
    specs = {name: spec["containers"][0] for name, spec in pod_specs().items()}
    assert specs["fetch-databases"]["command"][-1] == site.msa.db_root
    assert site.msa.db_preset in specs["fetch-databases"]["command"]
    environment = {each["name"]: each["value"] for each in specs["snakefold"]["env"]}
    assert specs["fetch-weights"]["command"][-1] == environment["SNAKEFOLD_WEIGHTS"]
    for folder in (site.msa.db_root, environment["SNAKEFOLD_WEIGHTS"]):
        assert str(folder).startswith(f"{mounted}/")
    for container in specs.values():
        assert mounted in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_the_site_as_it_comes_is_a_valid_configuration() -> None:
    site = load_config(yaml.safe_load((PROFILE / "site.yaml").read_text()))
    assert site.gpu.table == "kubernetes/gpus.yaml"
    assert load_classes(site.gpu.classes, PROFILE / "gpus.yaml")
    assert set(site.gpu.classes) <= set(site.kubernetes.gpus)


def test_a_class_without_nodes_is_refused() -> None:
    values = {"gpu": {"classes": ["ada_24", "local"]}, "kubernetes": {"gpus": {"ada_24": "g6.2xlarge"}}}
    with pytest.raises(ConfigError, match=r"kubernetes\.gpus does not say how to ask for local"):
        load_config(values)


def test_jobs_get_the_keys_that_are_there_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "SNAKEFOLD_"))]:
        monkeypatch.delenv(name)
    assert "envvars" not in profile()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("SNAKEFOLD_WEIGHTS", "/data/alphafold")
    assert profile()["envvars"] == ["AWS_ACCESS_KEY_ID", "SNAKEFOLD_WEIGHTS"]


def test_only_the_previous_log_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def read(self: CoreV1Api, name: str, namespace: str, previous: bool | None = None) -> str:
        asked.append(previous)
        if previous:
            raise ApiException(status=status)
        return "log"

    monkeypatch.setattr(CoreV1Api, "read_namespaced_pod_log", read)
    read_logs_of_failed_pods()
    read_logs_of_failed_pods()
    api = CoreV1Api()
    status = 400
    assert api.read_namespaced_pod_log("x", "y", previous=True) == "log"
    assert asked == [True, None]
    status = 500
    with pytest.raises(ApiException):
        api.read_namespaced_pod_log("x", "y", previous=True)
    assert asked == [True, None, True]


def test_documented_commands_name_files_that_are_there() -> None:
    text = (HOUSE / "docs" / "kubernetes.md").read_text()
    named = set(re.findall(r"kubectl (?:apply|create) -f (\S+)", text))
    assert named == {f"kubernetes/manifests/{path.name}" for path in (PROFILE / "manifests").iterdir()}
