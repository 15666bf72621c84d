"""A real S3 server, and what lies on it."""

from __future__ import annotations

import os
from typing import Any

from tests.servers.seaweedfs import WRITER, SeaweedFS

from snakemake_executor_plugin_runpod.storage import Storage

#: More than goes inline.
BIG = os.urandom(9_000_000)


def storage_of(server: SeaweedFS, **more: Any) -> Storage:
    given: dict[str, Any] = {"keys": (WRITER.access, WRITER.secret)}
    return Storage("files", endpoint_url=server.endpoint, region="us-east-1", **{**given, **more})


def keys_in(server: SeaweedFS, prefix: str = "") -> list[str]:
    found = server.client().list_objects_v2(Bucket="files", Prefix=prefix).get("Contents", [])
    return [item["Key"] for item in found]
