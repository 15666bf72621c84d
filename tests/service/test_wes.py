"""The Workflow Execution Service: answers are what release 1.1.0 of its specification asks for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator

from snakefold.service.users import Quota
from tests.service.served_sets import CHAIN, REHEARSAL, Served, serving, until, wait

_BASE = "/ga4gh/wes/v1"
_TEXT, _TEXTS = {"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}
_STATES = {
    "enum": [
        "UNKNOWN", "QUEUED", "INITIALIZING", "RUNNING", "PAUSED", "COMPLETE", "EXECUTOR_ERROR",
        "SYSTEM_ERROR", "CANCELED", "CANCELING", "PREEMPTED",
    ]
}  # fmt: skip
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


_VERSIONS = {"type": "object", "additionalProperties": {"type": "object"}}
_LOG = {
    "name": _TEXT,
    "cmd": {"type": "array", "items": _TEXT},
    "start_time": _TIME,
    "end_time": _TIME,
    "stdout": _TEXT,
    "stderr": _TEXT,
    "exit_code": {"type": "integer"},
    "system_logs": {"type": "array", "items": _TEXT},
}
_SUMMARY = _object(
    {"run_id": _TEXT, "state": _STATES, "tags": _TEXTS}, {"start_time": _TIME, "end_time": _TIME}
)
_SCHEMAS: dict[str, dict[str, Any]] = {
    "ServiceInfo": _object(
        {
            "id": _TEXT,
            "name": _TEXT,
            "type": _object({"group": _TEXT, "artifact": {"const": "wes"}, "version": {"const": "1.1.0"}}),
            "organization": _object({"name": _TEXT, "url": {"type": "string", "pattern": "^https?://"}}),
            "version": _TEXT,
            "workflow_type_versions": _VERSIONS,
            "supported_wes_versions": {"type": "array", "items": _TEXT, "contains": {"const": "1.1.0"}},
            "supported_filesystem_protocols": {"type": "array", "items": _TEXT},
            "workflow_engine_versions": _VERSIONS,
            "default_workflow_engine_parameters": {"type": "array"},
            "system_state_counts": {
                "type": "object",
                "propertyNames": _STATES,
                "additionalProperties": {"type": "integer"},
            },
            "auth_instructions_url": {"type": "string", "pattern": "^https?://"},
            "tags": _TEXTS,
        },
        {"description": _TEXT},
    ),
    "RunId": _object({"run_id": _TEXT}),
    "RunStatus": _object({"run_id": _TEXT, "state": _STATES}),
    "RunListResponse": _object({"runs": {"type": "array", "items": _SUMMARY}, "next_page_token": _TEXT}),
    "RunLog": _object(
        {
            "run_id": _TEXT,
            "request": _object(
                {
                    "workflow_params": {"type": "object"},
                    "workflow_type": {"const": "SMK"},
                    "workflow_type_version": _TEXT,
                    "workflow_url": _TEXT,
                },
                {"workflow_engine": _TEXT, "tags": _TEXTS},
            ),
            "state": _STATES,
            "run_log": _object({}, _LOG),
            "task_logs_url": {"type": "string", "pattern": "^http"},
            "outputs": {"type": "object"},
        }
    ),
    "TaskListResponse": _object(
        {
            "task_logs": {"type": "array", "items": _object({"id": _TEXT, "name": _TEXT}, _LOG)},
            "next_page_token": _TEXT,
        }
    ),
    "TaskLog": _object({"id": _TEXT, "name": _TEXT}, _LOG),
    "ErrorResponse": _object({"msg": _TEXT, "status_code": {"type": "integer"}}),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that quotes, and runs nothing."""
    workers = {"jobs": 0, "runs": 0, "quotes": 1, "searches": 0}
    with serving(
        tmp_path_factory.mktemp("wes"), {"ada": Quota(), "bob": Quota()}, workers=workers
    ) as service:
        yield service


@pytest.fixture
def ada(served: Served) -> Iterator[httpx.Client]:
    with served.client("ada") as client:
        yield client


def _checked(answer: httpx.Response, schema: str, code: int = 200) -> Any:
    """An answer, if it is what the specification says."""
    assert answer.status_code == code, answer.text
    content = answer.json()
    Draft202012Validator(_SCHEMAS[schema]).validate(content)
    if published := os.environ.get(
        "SNAKEFOLD_TEST_WES_OPENAPI"
    ):  # the specification's own file, if it is here
        _against(Path(published), content, schema)
    if schema == "ErrorResponse":
        assert content["status_code"] == code
    return content


def _against(file: Path, content: Any, schema: str) -> None:
    document = yaml.safe_load(file.read_text())
    schemas = document["components"]["schemas"]
    # What service-info adds is a file of another repository.
    schemas["ServiceInfo"]["allOf"] = schemas["ServiceInfo"]["allOf"][1:]
    Draft202012Validator({"$ref": f"#/components/schemas/{schema}", **document}).validate(content)


def _send(client: httpx.Client, **fields: Any) -> httpx.Response:
    files = fields.pop("files", [("workflow_attachment", ("one.fasta", f">one\n{CHAIN}\n".encode()))])
    form = {
        "workflow_type": "SMK",
        "workflow_type_version": "1.0",
        "workflow_url": "workflow/Snakefile",
        "workflow_params": json.dumps({"settings": REHEARSAL}),
        **fields,
    }
    return client.post(f"{_BASE}/runs", data=form, files=files)


def test_the_service_says_what_it_is(ada: httpx.Client) -> None:
    info = _checked(ada.get(f"{_BASE}/service-info"), "ServiceInfo")
    workflow = info["tags"]["workflow_url"]
    assert "rule all" in httpx.get(workflow).text  # anybody's to read, at the address that runs name
    assert info["workflow_type_versions"].keys() == {"SMK"}


def test_a_run_is_sent_quoted_and_cancelled(served: Served, ada: httpx.Client) -> None:
    name = _checked(_send(ada, tags='{"project": "x"}'), "RunId")["run_id"]
    until(ada, name, "QUOTED")
    assert _checked(ada.get(f"{_BASE}/runs/{name}/status"), "RunStatus") == {
        "run_id": name,
        "state": "PAUSED",
    }
    log = _checked(ada.get(f"{_BASE}/runs/{name}"), "RunLog")
    assert log["request"]["workflow_params"]["settings"] == REHEARSAL
    assert log["request"]["tags"] == {"project": "x"}
    assert log["run_log"]["cmd"] == ["snakefold", "run", "input/one.fasta"]
    assert log["outputs"] == {}
    assert ada.get(log["task_logs_url"]).json() == {"task_logs": [], "next_page_token": ""}
    _checked(ada.get(f"{_BASE}/runs/{name}/tasks"), "TaskListResponse")
    _checked(ada.get(f"{_BASE}/runs/{name}/tasks/predict"), "ErrorResponse", 404)
    for stream in ("stdout", "stderr", "else"):
        _checked(ada.get(f"{_BASE}/runs/{name}/{stream}"), "ErrorResponse", 404)
    with served.client("bob") as bob:
        for path in ("", "/status", "/tasks"):
            _checked(bob.get(f"{_BASE}/runs/{name}{path}"), "ErrorResponse", 404)
        _checked(bob.post(f"{_BASE}/runs/{name}/cancel"), "ErrorResponse", 404)
    assert _checked(ada.post(f"{_BASE}/runs/{name}/cancel"), "RunId") == {"run_id": name}
    assert _checked(ada.get(f"{_BASE}/runs/{name}/status"), "RunStatus")["state"] == "CANCELED"


def test_a_run_may_be_accepted_when_it_is_sent(ada: httpx.Client) -> None:
    params = {"settings": REHEARSAL, "accept": True, "budget": 5, "text": f">two\n{CHAIN}W\n", "name": "two"}
    answer = _send(ada, files=[("x", ("", b""))], workflow_params=json.dumps(params))
    name = _checked(answer, "RunId")["run_id"]
    wait(lambda: ada.get(f"{_BASE}/runs/{name}/status").json()["state"] == "QUEUED")
    bad = {"settings": {**REHEARSAL, "on_invalid": "stop"}, "text": ">bad\nMKT1YIAKQRQISFVK\n"}
    refused = _checked(_send(ada, files=[("x", ("", b""))], workflow_params=json.dumps(bad)), "RunId")[
        "run_id"
    ]
    wait(lambda: ada.get(f"{_BASE}/runs/{refused}/status").json()["state"] == "EXECUTOR_ERROR")
    log = _checked(ada.get(f"{_BASE}/runs/{refused}"), "RunLog")
    assert "pasted.fasta:2" in log["run_log"]["system_logs"][0]


def test_lists_have_pages(ada: httpx.Client) -> None:
    sent = [_checked(_send(ada), "RunId")["run_id"] for _ in range(3)]
    for name in sent:
        until(ada, name, "QUOTED")
    page = _checked(ada.get(f"{_BASE}/runs", params={"page_size": 2}), "RunListResponse")
    assert [run["run_id"] for run in page["runs"]] == [sent[2], sent[1]]
    rest = ada.get(f"{_BASE}/runs", params={"page_size": 100, "page_token": page["next_page_token"]})
    found = _checked(rest, "RunListResponse")
    assert found["runs"][0]["run_id"] == sent[0]
    assert found["next_page_token"] == ""
    counts = _checked(ada.get(f"{_BASE}/service-info"), "ServiceInfo")["system_state_counts"]
    assert counts["PAUSED"] >= 3
    _checked(ada.get(f"{_BASE}/runs", params={"page_size": 0}), "ErrorResponse", 400)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"workflow_type": "CWL"}, "workflow_type: expected SMK"),
        ({"workflow_type_version": "v1"}, "workflow_type_version: expected"),
        (
            {"workflow_url": "https://example.org/workflow/Snakefile"},
            "workflow here is http://127.0.0.1",
        ),
        ({"workflow_url": "file:///workflow/Snakefile"}, "the only workflow here is"),
        ({"workflow_url": "http://[/"}, "the only workflow here is"),
        ({"workflow_engine": "cwltool"}, "workflow_engine: expected snakemake"),
        ({"workflow_engine_parameters": '{"--cores": "4"}'}, "workflow_engine_parameters: none are taken"),
        ({"workflow_params": "x"}, "workflow_params: expected a JSON object"),
        ({"workflow_params": '{"input": "/etc/passwd"}'}, "workflow_params: input: expected"),
        ({"workflow_params": '{"settings": 1}'}, "settings: expected an object"),
        ({"workflow_params": '{"settings": {"store": "/x"}}'}, "store: is not taken from users"),
        ({"workflow_params": '{"accept": true, "budget": true}'}, "budget: expected dollars"),
        ({"tags": '{"a": 1}'}, "expected text"),
    ],
)
def test_what_is_wrong_is_said_as_the_specification_has_it(
    ada: httpx.Client, fields: dict[str, str], said: str
) -> None:
    assert said in _checked(_send(ada, **fields), "ErrorResponse", 400)["msg"]


def test_nobody_in_particular_is_told_nothing(served: Served) -> None:
    with httpx.Client(base_url=served.address) as nobody:
        for path in ("/service-info", "/runs", "/runs/x/status"):
            _checked(nobody.get(f"{_BASE}{path}"), "ErrorResponse", 401)
        _checked(_send(nobody), "ErrorResponse", 401)
