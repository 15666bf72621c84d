"""Keys stand in no file, no log and no command line."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from flying import wait
from running import command, environment, prepare, said, start
from tests.servers.seaweedfs import WRITER, SeaweedFS
from workers import service_of

from snakefold.clusters.emulator import Fault, Scope

KEY = "rpa_1F2E3D4C5B6A79881F2E3D4C5B6A7988"


def command_lines(session: int) -> bytes:
    """Of all processes of a session: other tests have theirs, and run beside this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(process.name)) == session:
                found.append((process / "cmdline").read_bytes())
    return b"\n".join(found)


def test_no_key_is_written_anywhere(tmp_path: Path, server: SeaweedFS) -> None:
    faults = [
        Fault("failed", nth=2),
        Fault("status", call="run", status=502, nth=3),
        Fault("reset_after", call="status", nth=1),
    ]
    home = tmp_path / "work"
    with service_of(*faults, keys={KEY: Scope()}) as service:
        prepare(home, 4, 0.5)
        (home / "in/3.json").unlink()  # made by a local rule, so that there are child processes too
        arguments = command(
            *(home, service.url, 4, "--verbose", "--keep-going", "--printshellcmds"),
            *(
                "--runpod-transfer",
                "s3",
                "--runpod-bucket",
                "files",
                "--runpod-endpoint-url",
                server.endpoint,
            ),
            *("--runpod-region", "us-east-1"),
        )
        variables = environment(home, KEY, **WRITER.environment())
        process = start(home, arguments, variables)
        seen = bytearray()
        wait(lambda: bool(seen.extend(command_lines(process.pid))) or process.poll() is not None)
        assert process.returncode == 1, said(home)
        assert len(list((home / "out").glob("*.bin"))) == 3, said(home)
    assert b"snakemake" in seen
    # The key's name in a presigned URL is no secret, but is not to be found either; nor is any signature.
    secrets = [KEY.encode(), WRITER.secret.encode(), WRITER.access.encode(), b"X-Amz-Signature"]
    for secret in secrets:
        assert secret not in seen
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "ledger.sqlite" for path in files)
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret in content], path
