"""`snakefold deploy`: what is a difference, and the files that come with the project."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from snakefold.clusters.runpod.deploy.api import Account
from snakefold.clusters.runpod.deploy.desired import Deployment, image_cuda, read_deployment, resources
from snakefold.clusters.runpod.deploy.diff import compare
from snakefold.clusters.runpod.deploy.lock import Lock
from snakefold.kernel.errors import ConfigError

from .deploying import BASE


def wanted(**changes):
    return resources(Deployment.model_validate({**BASE, **changes})).resources


def as_made(asked):
    """An account that has what is asked for."""
    templates = {one.key: one for one in asked if one.kind == "template"}
    records = {"volume": [], "template": [], "endpoint": []}
    for number, one in enumerate(asked):
        body = dict(one.body)
        if one.kind == "endpoint":
            body |= {name: templates[one.key].body[name] for name in ("image", "env", "disk", "args")}
            body["networkVolumes"] = ["0"] if one.uses_volume else []
        records[one.kind].append({"id": str(number), **body})
    return Account(records, frozenset(), frozenset(), frozenset(), None)


@given(st.sampled_from(["reverse", "fb", "extra"]))
def test_what_means_the_same_is_no_difference(how):
    asked = wanted()
    there = as_made(asked)
    for record in there.records["endpoint"]:
        if how == "reverse":
            record["gpu"] = {**record["gpu"], "pools": record["gpu"]["pools"][::-1]}
        elif how == "fb":
            record["name"] += " -fb"
        else:
            record["somethingNew"] = 1
    assert {change.action for change in compare(asked, there, Lock(Path("none")))} == {"keep"}


@pytest.mark.parametrize("name", ["minCudaVersion", "registry", "args"])
def test_a_field_that_an_answer_leaves_out_has_its_default(name):
    asked = wanted()
    there = as_made(asked)
    for record in there.records["endpoint"]:
        record.pop(name, None)
        record["gpu"] = {key: value for key, value in record["gpu"].items() if key != name}
    changed = [change for change in compare(asked, there, Lock(Path("none"))) if change.action == "update"]
    # Only the CUDA version is asked for: it is sent.
    assert [change.patch.get("gpu", {}).get("minCudaVersion") for change in changed] == (
        [image_cuda()] * 3 if name == "minCudaVersion" else []
    )


def test_the_files_that_come_with_the_project():
    folder = Path(__file__).resolve().parents[2] / "profiles" / "runpod"
    made = resources(read_deployment(folder / "endpoints.yaml", ["registry/worker:1"]))
    keys = {one.key for one in made.resources if one.kind == "endpoint"}
    workers = [one.body["workers"]["max"] for one in made.resources if one.kind == "endpoint"]
    assert sum(workers) <= 5  # what a new account may have
    settings = yaml.safe_load((folder / "settings.yaml").read_text())["gpu"]
    assert {f"fold-{name}" for name in settings["classes"]} < keys
    assert settings["workers"] == dict.fromkeys(settings["classes"], 2)
    with pytest.raises(ConfigError, match="no image"):
        resources(read_deployment(folder / "endpoints.yaml"))
    # Who has AlphaFold2's image alone gets its endpoints alone, and who has an engine's, that engine's.
    (left_out,) = made.left_out
    own = resources(read_deployment(folder / "endpoints.yaml", [f"{left_out}=registry/engine:1"]))
    keys = {one.key for one in own.resources if one.kind == "endpoint"}
    classes = yaml.safe_load((folder / "settings.yaml").read_text())["gpu"]["classes"]
    assert keys == {f"{left_out}-{name}" for name in classes}
    # Runs send its jobs there, and others to `fold`.
    deployment = read_deployment(folder / "endpoints.yaml")
    sent = yaml.safe_load((folder / "settings.yaml").read_text())["runpod"]
    assert sent == {"endpoint": "fold", "endpoints": {deployment.endpoints[left_out].engine: left_out}}
