"""Services that answer otherwise than S3: a proxy before a real server refuses, cuts short and counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config

from snakefold.kernel.errors import StoreError
from snakefold.kernel.store import open_store
from snakefold.kernel.store.location import S3Location, parse_location
from snakefold.kernel.store.s3 import S3Store
from tests.servers.s3_proxy import Proxy, running
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.conftest import BUCKET, entry, prefix_of


@pytest.fixture
def proxy(server: SeaweedFS) -> Iterator[Proxy]:
    with running(server) as between:
        yield between


def through(proxy: Proxy, s3_location: str, tries: int = 8) -> S3Store:
    place = parse_location(s3_location)
    assert isinstance(place, S3Location)
    there = S3Location(place.bucket, place.prefix, proxy.endpoint, "us-east-1")
    return S3Store(there, tries=tries)


def test_a_service_that_refuses_deletes(proxy: Proxy, s3_location: str, server: SeaweedFS) -> None:
    store = through(proxy, s3_location)
    proxy.refused = ("DELETE",)
    name = f"{prefix_of(open_store(s3_location))}/{entry(1).name}"
    server.client().put_object(Bucket=BUCKET, Key=name, Body=b"damaged")
    assert store.get(entry(1)) is None
    store.put(entry(1), b"again")
    assert store.get(entry(1)) == b"again"
    with pytest.raises(StoreError, match="The keys may not do this"):
        store.remove(entry(1))


def test_only_the_plainest_requests_are_made(proxy: Proxy, s3_location: str) -> None:
    """No batch delete, no copy, no versions: services that imitate S3 lack them."""
    store = through(proxy, s3_location)
    store.put(entry(1), b"data")
    store.get(entry(1))
    store.has(entry(1))
    list(store.listing())
    store.remove(entry(1))
    assert {request.method for request in proxy.seen} == {"GET", "PUT", "HEAD", "DELETE"}


@pytest.mark.parametrize(("cut", "whole"), [(1, True), (50, False)])
def test_an_answer_that_breaks_off_is_asked_for_again(
    cut: int, whole: bool, proxy: Proxy, s3_location: str
) -> None:
    store = through(proxy, s3_location, tries=3)
    store.put(entry(1), b"data" * 100_000)
    proxy.cut = cut
    if whole:
        assert store.get(entry(1)) == b"data" * 100_000
    else:
        with pytest.raises(StoreError, match=entry(1).name):
            store.get(entry(1))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients wait three seconds for an answer, not a minute, and boto3 asks once: the store asks again."""

    def config(**given: Any) -> Config:
        return Config(**{**given, "read_timeout": 3, "retries": {"total_max_attempts": 1}})

    monkeypatch.setattr("snakefold.kernel.store.bucket.Config", config)


@pytest.mark.parametrize("stalled", [1, 50])
def test_a_server_that_does_not_answer_in_time(
    stalled: int, impatient: None, proxy: Proxy, s3_location: str
) -> None:
    store = through(proxy, s3_location, tries=3)
    store.put(entry(1), b"data")
    proxy.stalled = stalled
    if stalled == 1:
        assert store.get(entry(1)) == b"data"
    else:
        with pytest.raises(StoreError, match="does not answer in time"):
            store.get(entry(1))
    proxy.stalled = 0
    assert store.get(entry(1)) == b"data"


@pytest.mark.parametrize("region", ["auto", "EU-RO-1", "eeur"])
def test_regions_that_are_not_amazons(region: str, server: SeaweedFS, s3_location: str) -> None:
    """Cloudflare R2 calls its only one `auto`; a RunPod volume's is its datacenter, in capitals."""
    store = open_store(s3_location.replace("us-east-1", region))
    store.put(entry(1), b"data")
    assert store.get(entry(1)) == b"data"
