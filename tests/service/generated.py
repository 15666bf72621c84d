"""Requests that schemathesis makes out of the service's own OpenAPI, sent to a server that runs."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.service.running import Server

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def generate(
    server: Server, token: str, folder: Path, *, number: int, seed: int, phases: str, known: dict[str, str]
) -> dict[str, Any]:
    """Send at least so many requests, spread over all operations; what schemathesis says of them.

    Args:
        known: values of parameters of paths that lead to what is there; every second round has them.
    """
    with server.client(token) as client:
        paths = client.get("/openapi.json").json()["paths"]
    operations = sum(len(each) for each in paths.values())
    found: dict[str, Any] = {"operations": operations, "generated": 0, "failed": []}
    for values in itertools.cycle(({}, known)):
        if found["generated"] >= number:
            break
        # Operations without parameters have few requests: others make up for them in further rounds.
        each = (number - found["generated"]) // operations + 2
        lines = ["[parameters]", *(f'"path.{name}" = "{value}"' for name, value in values.items())]
        (folder / "schemathesis.toml").write_text("\n".join(lines) + "\n")
        options = ["--max-examples", str(each), "--seed", str(seed), "--phases", phases]
        said = _run(server, token, folder, options)
        match = re.search(r"(\d+) generated", said.stdout)
        assert match is not None, said.stdout + said.stderr
        found["generated"] += int(match[1])
        if said.returncode:
            found["failed"].append(said.stdout[-20_000:])
        seed += 1
    return found


def _run(server: Server, token: str, folder: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        *("run", f"{server.address}/openapi.json", "--header", f"Authorization: Bearer {token}"),
        *("--checks", ",".join(CHECKS), "--request-timeout", "120", "--no-color", "--continue-on-failure"),
        *options,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
