"""Fixtures of the worker's tests: random parameters of two blocks, small batches, a worker's environment."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from snakefold.engines.alphafold2 import rehearsal
from snakefold.engines.alphafold2.settings import AlphaFold2Settings
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, RelaxChoice, RelaxSettings
from snakefold.kernel.envelope import digest_of
from snakefold.worker import jobs
from tests.engine.toys import make_target, toy_a3m
from tests.worker.public_web import certificate, net, port

__all__ = ["certificate", "net", "port"]  # fixtures

BLOCKS = 2
SEQUENCES = {"a": "MKTAYIAKQRQISFVKSHF", "b": "GSHMFVKSHFSRQLEEMKT", "c": "MLEERQISFVKSHFSRQLE"}
#: As the engine's tests: compiling costs a third less.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


@pytest.fixture(scope="session")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random parameters of models 1 and 2."""
    folder = tmp_path_factory.mktemp("weights")
    rehearsal.draw(folder, ["model_1_ptm", "model_2_ptm"], BLOCKS)
    return folder


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs, shared by the stores of all tests."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="session")
def new_environment(parameters: Path, compiled: Path) -> Callable[[Path], dict[str, str]]:
    """Environment of a worker whose folders are below the one given."""

    def make(folder: Path) -> dict[str, str]:
        for name in ("store", "volume", "mmseqsdb"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        if not (folder / "store" / "compiled").exists():
            (folder / "store" / "compiled").symlink_to(compiled)
        return {
            "SNAKEFOLD_STORE": str(folder / "store"),
            "SNAKEFOLD_WEIGHTS": str(parameters),
            "SNAKEFOLD_REHEARSAL_BLOCKS": str(BLOCKS),
            "SNAKEFOLD_THREADS": "2",
            "RUNPOD_VOLUME_PATH": str(folder / "volume"),
            "MMSEQS_DB_ROOT": str(folder / "mmseqsdb"),
            "XLA_FLAGS": XLA_FLAGS,
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    return make


Answer = dict[str, Any]


@pytest.fixture(scope="module")
def worker(
    tmp_path_factory: pytest.TempPathFactory, new_environment: Callable[[Path], dict[str, str]]
) -> Iterator[Callable[..., Answer]]:
    """The handler in this process, its warm process behind it; `worker.folder` holds its folders."""
    folder = tmp_path_factory.mktemp("worker")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in new_environment(folder).items():
            patch.setenv(name, value)

        def ask(**given: Any) -> Answer:
            return asyncio.run(jobs.handler({"id": "test", "input": given}))

        ask.folder = folder  # type: ignore[attr-defined]
        try:
            yield ask
        finally:
            jobs._warm.drop(grace=0.0)


def told(answer: Answer) -> dict[str, str]:
    """What a failed job says."""
    details: dict[str, str] = json.loads(answer["error"])
    return details


def fold_request(names: Sequence[str] = ("a",), **changes: Any) -> FoldRequest:
    """A batch of tiny targets, as the plan makes it."""
    small = {"models": [1], "num_recycle": 0, "max_msa_clusters": 8, "max_extra_msa": 8}
    settings = {name: changes.pop(name) for name in list(changes) if name in AlphaFold2Settings.model_fields}
    given = {
        "batch": "b0001",
        "engine": "alphafold2",
        "settings": AlphaFold2Settings.model_validate(small | settings).model_dump(mode="json"),
        "relax": RelaxSettings(models_to_relax=RelaxChoice.NONE),
        "recipe": "0" * 16,
        "rehearsal": True,
        "bucket_edges": [20],
        "targets": [make_target(name, SEQUENCES[name]) for name in names],
    }
    return FoldRequest(**(given | changes))


def inputs_of(request: FoldRequest) -> bytes:
    """inputs.tar.zst of a batch."""
    files = {
        f"chains/{target.key}/msa.a3m": toy_a3m(target.chains[0], 8).encode() for target in request.targets
    }
    return archive.pack(files)


def inline(data: bytes) -> dict[str, Any]:
    """A part with its bytes in it."""
    facts = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {**facts, "base64": base64.b64encode(data).decode()}


def envelope(request: FoldRequest, sink: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A batch in its envelope, as the executor plugin sends it."""
    part = changes.pop("part", None) or inline(inputs_of(request))
    body = request.model_dump(mode="json")
    given = {
        "version": 1,
        "digest": digest_of(body, {"inputs": part["sha256"]}),
        "request": body,
        "files": {"inputs": part},
        "results": {"archive": sink or {"inline": True}},
    }
    return given | changes


def data_of(result: dict[str, Any]) -> bytes:
    """Bytes of an inline result, checked."""
    data = base64.b64decode(result["base64"]) if "base64" in result else result["text"].encode()
    assert len(data) == result["size"]
    assert hashlib.sha256(data).hexdigest() == result["sha256"]
    return data


def processes_of(folder: Path) -> list[int]:
    """Processes that have `folder` in their environment: those of a worker made for a test."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                running = (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
                if running and str(folder).encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
