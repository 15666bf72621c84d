"""Both sides of the envelope: what the plugin sends is what a worker of this repository takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from snakefold.kernel.envelope import Envelope, digest_of
from snakemake_executor_plugin_runpod.payload import Part, Task, Work, body, digest, envelope

#: Whatever a request.json may hold, lone surrogates and large numbers included.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
REQUESTS = st.dictionaries(st.text(max_size=6), VALUES, max_size=5)
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=9
)
SHA256 = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(REQUESTS, st.dictionaries(NAMES, SHA256, max_size=4))
def test_plugin_and_worker_compute_the_same_digest(request: dict[str, Any], files: dict[str, str]) -> None:
    parts = tuple(Part(name, Path(name), 1, sha256) for name, sha256 in files.items())
    work = Work(Task("r", 1, 1, "e", {}, {"out": Path("out")}), request, parts, digest(request, parts))
    sent = {part.name: {"size": 1, "sha256": part.sha256, "path": "a/b"} for part in parts}
    travelled = json.loads(body(envelope(work, sent, {"out": {"inline": True}}), {"ttl": 1}))["input"]
    received = Envelope.model_validate(travelled)
    found = digest_of(received.request, {name: part.sha256 for name, part in received.files.items()})
    assert found == received.digest == work.digest
