"""A real S3 server for all tests here, and stores of both kinds that the same tests run on."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snakefold.kernel.store import Entry, Store, open_store
from snakefold.kernel.store.folder import FolderStore
from tests.servers.seaweedfs import WRITER, Keys, SeaweedFS, serving

BUCKET = "results"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with serving(tmp_path_factory.mktemp("seaweedfs") / "server", BUCKET) as running:
        yield running


@pytest.fixture(autouse=True)
def only_these_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Keys | None], None]:
    """Whatever keys the person who runs the tests has are out of reach; the call chooses others."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def choose(keys: Keys | None) -> None:
        for name, value in (keys or WRITER).environment().items():
            if keys is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    choose(WRITER)
    return choose


@pytest.fixture
def s3_location(server: SeaweedFS) -> str:
    """An empty prefix of its own for every test."""
    return server.location(BUCKET, f"team/{secrets.token_hex(6)}")


@pytest.fixture(params=["folder", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    return str(request.getfixturevalue("s3_location"))


@pytest.fixture
def store(location: str) -> Store:
    return open_store(location)


@pytest.fixture
def overwrite(server: SeaweedFS, store: Store) -> Callable[[str, bytes], None]:
    """Put bytes under a name below the store's root, past the store."""

    def write(name: str, content: bytes) -> None:
        if isinstance(store, FolderStore):
            path = store.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        else:
            server.client().put_object(Bucket=BUCKET, Key=f"{prefix_of(store)}/{name}", Body=content)

    return write


@pytest.fixture
def content(server: SeaweedFS, store: Store) -> Callable[[], dict[str, bytes]]:
    """Everything the store has, by name below its root, past the store."""

    def read() -> dict[str, bytes]:
        if isinstance(store, FolderStore):
            files = [path for path in store.root.rglob("*") if path.is_file()]
            return {path.relative_to(store.root).as_posix(): path.read_bytes() for path in files}
        client, prefix = server.client(), f"{prefix_of(store)}/"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        names = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {
            name.removeprefix(prefix): client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
            for name in names
        }

    return read


def prefix_of(store: Store) -> str:
    return store.location.removeprefix(f"s3://{BUCKET}/").partition("?")[0]


def entry(number: int, kind: str = "fold", recipe: str = "0123456789abcdef") -> Entry:
    return Entry(kind, recipe, f"{number:02x}" + "0" * 62)
