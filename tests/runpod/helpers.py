"""What these tests share."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping

from snakefold.clusters.emulator import EmulatorThread
from snakefold.clusters.runpod import Session


def session_of(service: EmulatorThread, **settings) -> Session:
    """A session with the emulator."""
    settings.setdefault("patience", 30.0)
    settings.setdefault("timeout", 30.0)
    return Session(
        **{"api_key": service.api_key, "jobs_url": service.url, "management_url": service.management_url}
        | settings
    )


def environment_of(service: EmulatorThread, **more: str) -> dict[str, str]:
    """Variables that send a command to the emulator."""
    return {
        "RUNPOD_API_KEY": service.api_key,
        "RUNPOD_API_BASE_URL": service.url,
        "RUNPOD_MANAGEMENT_URL": service.management_url,
        **more,
    }


def tar_of(files: Mapping[str, bytes], *members: tarfile.TarInfo, compressed: bool = True) -> bytes:
    """A tar.gz of files, then of members as they are."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for member in members:
            archive.addfile(member, io.BytesIO(b"\0" * member.size))
    return gzip.compress(raw.getvalue(), 1) if compressed else raw.getvalue()


def part_of(data: bytes, **more: object) -> dict[str, object]:
    """A part as the worker sends it."""
    return {
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "base64": base64.b64encode(data).decode(),
        **more,
    }
