"""Requests that schemathesis makes out of the service's own OpenAPI, sent to a server that runs."""

from __future__ import annotations

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
        known: values of parameters of paths that lead to what is there; half of the requests have them.
    """
    with server.client(token) as client:
        paths = client.get("/openapi.json").json()["paths"]
    operations = sum(len(each) for each in paths.values())
    found: dict[str, Any] = {"operations": operations, "generated": 0, "failed": 0}
    for part, values in (("any", {}), ("known", known)):
        lines = ["[parameters]", *(f'"path.{name}" = "{value}"' for name, value in values.items())]
        (folder / "schemathesis.toml").write_text("\n".join(lines) + "\n")
        said = subprocess.run(
            [
                str(Path(sys.executable).parent / "schemathesis"),
                *("run", f"{server.address}/openapi.json", "--header", f"Authorization: Bearer {token}"),
                *("--max-examples", str(max(number // (2 * operations), 1) + 1), "--seed", str(seed)),
                *("--checks", ",".join(CHECKS), "--phases", phases, "--request-timeout", "120"),
                *("--no-color", "--continue-on-failure"),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        match = re.search(r"(\d+) generated", said.stdout)
        assert match is not None, f"{part}: {said.stdout}{said.stderr}"
        found["generated"] += int(match[1])
        if said.returncode:
            found["failed"] += 1
            found[part] = said.stdout[-20_000:]
    return found
