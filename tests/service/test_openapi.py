"""The service's OpenAPI: whole, and kept to whatever is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snakefold.service.app import create_app
from snakefold.service.settings import ServiceSettings
from snakefold.service.users import User, add_token
from tests.service.generated import generate
from tests.service.running import Server, serving

#: Bodies that need no schema: a file, a page, a stream of events.
OPAQUE = ("application/octet-stream", "text/", "image/", "application/zip", "chemical/", "application/gzip")


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    app = create_app(ServiceSettings(folder=tmp_path_factory.mktemp("service")))
    found: dict[str, Any] = app.fastapi.openapi()
    return found


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def shown(openapi: dict[str, Any], given: dict[str, Any]) -> bool:
    """Whether a schema, or what it refers to, has an example."""
    schema = given.get("schema", {})
    if "$ref" in schema:
        schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    parts = schema.get("properties", {}).values()
    return bool(
        {"example", "examples"} & (given.keys() | schema.keys())
        or any({"example", "examples", "default", "enum"} & part.keys() for part in parts)
    )


def test_every_operation_says_what_it_does_and_what_it_may_answer(openapi: dict[str, Any]) -> None:
    lacking = []
    for name, operation in operations(openapi):
        if not operation.get("summary") or not operation.get("description") or not operation.get("tags"):
            lacking.append(f"{name}: summary, description or tag")
        if not {"400", "401", "404", "413", "422", "500"} <= operation["responses"].keys():
            lacking.append(f"{name}: refusals")
        good = [answer for code, answer in operation["responses"].items() if code.startswith(("2", "3"))]
        if not good:
            lacking.append(f"{name}: an answer")
        for answer in good:
            for kind, content in answer.get("content", {}).items():
                if not content.get("schema") and not kind.startswith(OPAQUE):
                    lacking.append(f"{name}: the schema of its answer")
    assert lacking == []


def test_every_parameter_is_described(openapi: dict[str, Any]) -> None:
    lacking = [
        f"{name}: {parameter['name']}"
        for name, operation in operations(openapi)
        for parameter in operation.get("parameters", ())
        if not (parameter.get("description") or parameter["schema"].get("description"))
    ]
    assert lacking == []


def test_every_body_has_an_example(openapi: dict[str, Any]) -> None:
    lacking = [
        f"{name}: {kind}"
        for name, operation in operations(openapi)
        for kind, content in operation.get("requestBody", {}).get("content", {}).items()
        if not shown(openapi, content)
    ]
    assert lacking == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    tokens = tmp_path / "tokens.yaml"
    token = add_token(tokens, User(user="ada", admin=True))
    settings = {
        "tokens": str(tokens),
        "workers": {"jobs": 1, "runs": 0, "quotes": 0, "searches": 0},
    }
    with serving(tmp_path, settings=settings) as running:
        yield running, token


def test_generated_requests_are_answered_as_it_says(server: tuple[Server, str], tmp_path: Path) -> None:
    running, token = server
    with running.client(token) as client:
        body = {"input": {"sequence": "MKTAYIAKQR", "db_preset": "single_sequence"}}
        job = client.post("/v2/fold/run", json=body).json()["id"]
    said = generate(
        running,
        token,
        tmp_path,
        number=200,
        seed=1,
        phases="examples,fuzzing",
        known={"endpoint": "fold", "job": job},
    )
    assert said["generated"] >= 200
    assert said["failed"] == []
    assert not [line for line in running.lines() if line.get("status", 0) >= 500 or "traceback" in line]
