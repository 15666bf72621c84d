"""Parts in and results out: every place, every check, against a real S3 server and real folders."""

from __future__ import annotations

import base64
import hashlib
import random
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snakefold.kernel import archive
from snakefold.kernel.envelope import INLINE_LIMIT, Result
from snakefold.kernel.errors import Reason, SnakefoldError
from snakefold.kernel.store import Entry, open_store
from snakefold.worker.endpoints import InvalidInput, Part, Sink
from snakefold.worker.failures import JobError, without_secrets
from snakefold.worker.fetch import Network, Refused
from snakefold.worker.fold import _inputs, inputs_bytes
from snakefold.worker.ready import NotReadyError, check_ready
from snakefold.worker.settings import read_settings
from snakefold.worker.transfer import Transfer, volume_path
from tests.servers.seaweedfs import READER, WRITER, SeaweedFS, serving
from tests.worker.conftest import fold_request, inline

DATA = b"REHEARSAL " * 1000
LARGE = secrets.token_bytes(INLINE_LIMIT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with serving(tmp_path_factory.mktemp("seaweedfs") / "server", "jobs") as running:
        yield running


def transfer_with(tmp_path: Path, server: SeaweedFS | None = None, **environment: str) -> Transfer:
    volume = tmp_path / "volume"
    given = {"RUNPOD_VOLUME_PATH": str(volume), "SNAKEFOLD_STORE": str(tmp_path / "store"), **environment}
    if server is not None:
        given["SNAKEFOLD_TRANSFER_HOSTS"] = server.endpoint.removeprefix("http://")
    settings = read_settings(given)
    return Transfer(settings, open_store(settings.store), Network(trusted=settings.transfer_hosts))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


def facts(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def presigned(server: SeaweedFS, operation: str, key: str, version: str = "s3v4") -> str:
    """As clients sign: version 2 is what boto3 does by default for an endpoint of one's own."""
    import boto3
    from botocore.config import Config

    client = boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=WRITER.access,
        aws_secret_access_key=WRITER.secret,
        config=Config(signature_version=version),
    )
    address = {"Bucket": "jobs", "Key": key}
    return str(client.generate_presigned_url(operation, address, ExpiresIn=600))


def read(server: SeaweedFS, key: str) -> bytes:
    data: bytes = server.client().get_object(Bucket="jobs", Key=key)["Body"].read()
    return data


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_addresses_both_ways(tmp_path: Path, server: SeaweedFS, version: str) -> None:
    transfer = transfer_with(tmp_path, server)
    result = transfer.deliver("x", LARGE, Sink(url=presigned(server, "put_object", "a/out", version)))
    assert result == Result(**facts(LARGE), stored=True)
    assert read(server, "a/out") == LARGE
    part = Part(**facts(LARGE), url=presigned(server, "get_object", "a/out", version))
    assert transfer.read("inputs", part) == LARGE
    assert set(transfer.seconds) == {"read", "write"}


def test_addresses_that_are_not_trusted_are_not_called(tmp_path: Path, server: SeaweedFS) -> None:
    transfer = transfer_with(tmp_path)
    url = presigned(server, "put_object", "b/out")
    with pytest.raises(Refused) as caught:
        transfer.deliver("x", DATA, Sink(url=url))
    assert "Signature" not in str(caught.value)


def test_what_the_server_refuses_is_told_without_the_address(tmp_path: Path, server: SeaweedFS) -> None:
    transfer = transfer_with(tmp_path, server)
    url = presigned(server, "put_object", "c/out")
    wrong = url.replace("Signature=", "Signature=x")
    for action in (
        lambda: transfer.deliver("x", DATA, Sink(url=wrong)),
        lambda: transfer.read("x", Part(**facts(DATA), url=presigned(server, "get_object", "c/none"))),
    ):
        with pytest.raises(InvalidInput, match="status 40") as caught:
            action()
        assert "Signature" not in str(caught.value)


def test_a_server_that_is_away_is_asked_again(tmp_path: Path, server: SeaweedFS) -> None:
    transfer = transfer_with(tmp_path, SNAKEFOLD_TRANSFER_HOSTS="127.0.0.1:9")
    with pytest.raises(SnakefoldError, match="tried 4 times, ConnectionRefusedError"):
        transfer.read("x", Part(**facts(DATA), url="http://127.0.0.1:9/x?sig=1"))


def test_the_volume_both_ways(tmp_path: Path, volume: Path) -> None:
    transfer = transfer_with(tmp_path)
    result = transfer.deliver("x", DATA, Sink(path="runs/1/out"))
    assert result == Result(**facts(DATA), stored=True, path="runs/1/out")
    assert (volume / "runs" / "1" / "out").read_bytes() == DATA
    assert transfer.read("x", Part(**facts(DATA), path="runs/1/out")) == DATA


def test_links_lead_nowhere_outside_the_volume(tmp_path: Path, volume: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(DATA)
    (volume / "link").symlink_to(outside)
    (volume / "file").symlink_to(outside / "secret")
    transfer = transfer_with(tmp_path)
    for path in ("link/secret", "file"):
        with pytest.raises(InvalidInput, match="out of the network volume"):
            transfer.read("x", Part(**facts(DATA), path=path))
        with pytest.raises(InvalidInput, match="out of the network volume"):
            transfer.deliver("x", DATA, Sink(path=path))
    assert (outside / "secret").read_bytes() == DATA
    (volume / "inside").symlink_to(volume / "real")
    assert volume_path(volume, "inside/x") == volume / "real" / "x"


def test_no_volume_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no network volume"):
        transfer_with(tmp_path).deliver("x", DATA, Sink(path="a"))


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "0" * 64},
        {"size": 3},
        {"base64": "!!!"},
        {"base64": base64.b64encode(DATA[:-1]).decode()},
        {"base64": base64.b64encode(DATA).decode()[:-2]},
        {"size": 1 << 40},
    ],
)
def test_parts_that_are_not_what_they_say(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"files\.inputs"):
        transfer_with(tmp_path).read("inputs", Part(**(inline(DATA) | change)))


def test_small_results_share_the_limit_of_what_is_inline(tmp_path: Path, volume: Path) -> None:
    transfer = transfer_with(tmp_path)
    results = [transfer.deliver(f"r{n}", LARGE[: INLINE_LIMIT // 4], Sink(inline=True)) for n in range(4)]
    assert [result.base64 is not None for result in results] == [True, True, False, False]
    assert sum(len(result.base64 or "") for result in results) < INLINE_LIMIT
    assert (volume / str(results[3].path)).read_bytes() == LARGE[: INLINE_LIMIT // 4]


def test_large_results_go_to_the_bucket(
    tmp_path: Path, server: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in WRITER.environment().items():
        monkeypatch.setenv(name, value)
    transfer = transfer_with(tmp_path, server, SNAKEFOLD_RESULTS=server.location("jobs", "results"))
    result = transfer.deliver("x.tar.gz", LARGE, Sink(inline=True))
    assert (result.stored, result.base64) == (True, None)
    assert transfer.read("x", Part(**facts(LARGE), url=result.url)) == LARGE


def test_large_results_go_to_a_store_on_s3(
    tmp_path: Path, server: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in WRITER.environment().items():
        monkeypatch.setenv(name, value)
    location = server.location("jobs", "store")
    result = transfer_with(tmp_path, SNAKEFOLD_STORE=location).deliver("x", LARGE, Sink(inline=True))
    assert result.store == f"response/results/{result.sha256[:2]}/{result.sha256}"
    assert open_store(location).get(Entry("response", "results", result.sha256)) == LARGE


def test_large_results_with_nowhere_to_go_fail_and_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="Send a sink with `url`, `path` or `key`") as caught:
        transfer_with(tmp_path).deliver("x", LARGE, Sink(inline=True))
    assert caught.value.reason is Reason.INVALID_INPUT


def test_secrets_are_taken_out_of_texts() -> None:
    environment = {"AWS_SECRET_ACCESS_KEY": "abcdefgh1234", "SHORT_KEY": "ab", "PATH": "/usr/bin/things"}
    text = (
        "PUT https://b.s3.example/x/y?X-Amz-Signature=123&a=b failed, key abcdefgh1234 "
        "s3://user:pw@bucket/x /usr/bin/things ab"
    )
    assert without_secrets(text, environment) == (
        "PUT https://b.s3.example/x/y?… failed, key *** s3://***@bucket/x /usr/bin/things ab"
    )


def test_a_bomb_in_place_of_alignments_is_refused_by_what_the_request_can_need() -> None:
    request = fold_request(("a", "b"))
    most = inputs_bytes(request)
    assert most < 120 << 20  # two chains of twenty residues
    rows = b">row\nMKTAYIAKQRQISFVKSHF\n" * (most // 25 + 1)
    data = archive.pack({"chains/x/msa.a3m": rows, "noise": random.Random(1).randbytes(400_000)})
    assert archive.most_bytes(len(data)) > most
    context = SimpleNamespace(transfer=SimpleNamespace(read=lambda *_: data))
    part = Part(size=len(data), sha256=hashlib.sha256(data).hexdigest(), path="x")
    given = SimpleNamespace(files={"inputs": part})
    with pytest.raises(InvalidInput, match=f"does not unpack to {most} bytes"):
        _inputs(given, request, context)


def test_a_store_on_s3_that_may_only_be_read_ends_the_worker(
    tmp_path: Path, server: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    settings = transfer_with(tmp_path).settings
    settings = replace(settings, volume=None, store=server.location("jobs", "readiness"))
    for keys in (READER, WRITER):
        for name, value in keys.environment().items():
            monkeypatch.setenv(name, value)
        if keys is READER:
            with pytest.raises(NotReadyError, match="SNAKEFOLD_STORE: ") as caught:
                check_ready(settings)
            assert READER.secret not in str(caught.value)
        else:
            check_ready(settings)
    # The trial is taken away again.
    assert "Contents" not in server.client().list_objects_v2(Bucket="jobs", Prefix="readiness/")
