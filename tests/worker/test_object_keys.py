"""Objects by their keys, against a real S3 server: what a job may read and write, and what is said if not."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from snakefold.kernel.envelope import Result
from snakefold.kernel.errors import SnakefoldError, StoreError
from snakefold.kernel.store import bucket, open_store
from snakefold.worker.endpoints import InvalidInput, Part, Sink
from snakefold.worker.fetch import Network
from snakefold.worker.objects import Found, Objects, read_object_settings
from snakefold.worker.settings import read_settings
from snakefold.worker.transfer import Transfer
from tests.servers.s3_proxy import Proxy
from tests.servers.s3_proxy import running as proxying
from tests.servers.seaweedfs import READER, WRITER, Keys, SeaweedFS, serving

BUCKET = "s3-images"
DATA = b"REHEARSAL " * 100
INPUT = "inputs/u_abc/job_123/0.jpg"
OUTPUT = "outputs/u_abc/job_123/0_result.png"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with serving(tmp_path_factory.mktemp("seaweedfs") / "server", BUCKET) as running:
        running.client().create_bucket(Bucket="other")
        yield running


@pytest.fixture(autouse=True)
def no_other_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever keys the person who runs the tests has are out of reach."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))


def environment(endpoint: str, keys: Keys = WRITER, **changes: str) -> dict[str, str]:
    """As an operator sets it."""
    return {
        "STORAGE_S3_ENDPOINT": endpoint,
        "STORAGE_ACCESS_KEY": keys.access,
        "STORAGE_SECRET_KEY": keys.secret,
        "STORAGE_BUCKET": BUCKET,
        "STORAGE_READ_PREFIXES": "inputs/{user_id}/, shared/",
        "STORAGE_WRITE_PREFIXES": "outputs/{user_id}/{job_id}, previews/, s3://other/",
        **changes,
    }


@cache
def objects_at(server: SeaweedFS | Proxy, **changes: Any) -> Objects:
    """Of a job; a client of S3 takes a while to make."""
    settings = read_object_settings(environment(server.endpoint, **changes))
    return Objects(settings).of(user_id="u_abc", job_id="job_123")


def put(server: SeaweedFS, key: str, data: bytes, **more: Any) -> None:
    server.client().put_object(Bucket=BUCKET, Key=key, Body=data, **more)


def absent(server: SeaweedFS, key: str) -> bool:
    return "Contents" not in server.client().list_objects_v2(Bucket=BUCKET, Prefix=key)


def facts(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_an_input_is_read_and_an_output_is_written_with_what_is_known_of_it(server: SeaweedFS) -> None:
    put(server, INPUT, DATA)
    objects = objects_at(server)
    assert objects.read(INPUT) == DATA
    assert objects.written(OUTPUT) is None
    assert objects.write(OUTPUT, DATA, request="f" * 64)
    head = server.client().head_object(Bucket=BUCKET, Key=OUTPUT)
    assert head["ContentType"] == "image/png"
    assert head["Metadata"] == {"sha256": facts(DATA)["sha256"], "request": "f" * 64}
    assert objects.written(OUTPUT) == Found(len(DATA), facts(DATA)["sha256"], "f" * 64)
    assert objects.answered("f" * 64, [OUTPUT])
    assert not objects.answered("f" * 64, [OUTPUT, "previews/none.jpg"])
    assert not objects.answered("e" * 64, [OUTPUT])
    assert not objects.answered("f" * 64, [])
    objects.write("previews/x", DATA, media="image/jpeg")
    assert server.client().head_object(Bucket=BUCKET, Key="previews/x")["ContentType"] == "image/jpeg"


def test_the_same_bytes_are_written_once(server: SeaweedFS) -> None:
    with proxying(server) as proxy:
        objects = objects_at(proxy)
        key = "previews/once"
        assert [objects.write(key, DATA) for _ in range(3)] == [True, False, False]
        assert sum(each.method == "PUT" for each in proxy.seen) == 1
        assert objects.write(key, DATA + b"x")
        assert objects.write(key, DATA + b"x", request="a" * 64)  # another request's answer
        assert sum(each.method == "PUT" for each in proxy.seen) == 3
    # What another program put there says nothing of its bytes: it is replaced.
    put(server, key, b"?" * len(DATA))
    assert objects_at(server).write(key, DATA)
    assert server.client().get_object(Bucket=BUCKET, Key=key)["Body"].read() == DATA


def test_an_upload_that_was_said_to_be_done_and_was_not_is_repeated(server: SeaweedFS) -> None:
    with proxying(server) as proxy:
        proxy.lost = ["PUT"]
        assert objects_at(proxy).write("previews/lost", DATA)
        assert sum(each.method == "PUT" for each in proxy.seen) == 2
        proxy.lost = ["PUT"] * 3
        with pytest.raises(StoreError, match=r"s3://s3-images/previews/gone: 1000 bytes were sent 3 times"):
            objects_at(proxy).write("previews/gone", DATA)


def test_a_large_object_is_written_in_parts_and_is_whole_or_not_there(
    server: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "PART_SIZE", 5 << 20)  # S3's smallest
    large = secrets.token_bytes((11 << 20) + 3)
    with proxying(server) as proxy:
        assert objects_at(proxy).write("previews/large", large)
        parts = [each for each in proxy.seen if each.method == "PUT" and "partNumber" in each.path]
        assert len(parts) == 3
        assert objects_at(proxy, STORAGE_READ_PREFIXES="previews").read("previews/large") == large
        proxy.refused = ("PUT",)
        with pytest.raises(StoreError, match=r"s3://s3-images/previews/half: The keys may not do this"):
            objects_at(proxy).write("previews/half", large)
        assert any(each.method == "DELETE" and "uploadId" in each.path for each in proxy.seen)
    assert absent(server, "previews/half")
    assert not server.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads")


ALLOWED = "s3://s3-images/{}: may not be {} by this job: the key is below no prefix of STORAGE_{}_PREFIXES"


@pytest.mark.parametrize(
    "key",
    [
        "inputs/u_xyz/job_9/0.jpg",  # another user's
        "inputs/u_abc2/0.jpg",
        "inputs/u_ab",
        "inputs/u_abc",
        "inputs/{user_id}/0.jpg",
        "outputs/u_abc/job_123/0_result.png",  # what may be written may not therefore be read
        "secret",
        "Inputs/u_abc/0.jpg",
        "inputs/U_ABC/0.jpg",
    ],
)
def test_keys_that_may_not_be_read(server: SeaweedFS, key: str) -> None:
    put(server, key, b"of somebody else")
    with pytest.raises(InvalidInput) as caught:
        objects_at(server).read(key)
    assert str(caught.value).startswith(ALLOWED.format(key, "read", "READ"))


@pytest.mark.parametrize(
    "key",
    [
        "outputs/u_abc/job_9/0.png",
        "outputs/u_xyz/job_123/0.png",
        "previews",
        "shared/x",
        "inputs/u_abc/0.jpg",
    ],
)
def test_keys_that_may_not_be_written(server: SeaweedFS, key: str) -> None:
    objects = objects_at(server)
    for act in (
        lambda: objects.write(key, DATA),
        lambda: objects.written(key),
        lambda: objects.answered("a", [key]),
        lambda: objects.check(write=["previews/x", key]),
    ):
        with pytest.raises(InvalidInput) as caught:
            act()
        assert str(caught.value).startswith(ALLOWED.format(key, "written", "WRITE"))


@pytest.mark.parametrize(
    "key",
    [
        "inputs/u_abc/../u_xyz/0.jpg",
        "inputs/u_abc/./0.jpg",
        "inputs/u_abc//0.jpg",
        "/inputs/u_abc/0.jpg",
        "inputs/u_abc/0.jpg/",
        "inputs/u_abc/0\n.jpg",
        "inputs/u_abc/0\0.jpg",
        "inputs/u_abc/..\\u_xyz",
        "inputs/u_abc/" + "x" * 1024,
        "inputs/u_abc/" + "é" * 600,
        "",
    ],
)
def test_keys_that_are_none(server: SeaweedFS, key: str) -> None:
    """Whether a job gives them to a task, or in a part or a sink."""
    with pytest.raises(InvalidInput, match=r"is no key|may not be"):
        objects_at(server).read(key)
    for made in (lambda: Part(**facts(DATA), key=key), lambda: Sink(key=key)):
        with pytest.raises(ValueError, match="key"):
            made()


def test_nothing_is_allowed_but_what_the_operator_lists(server: SeaweedFS) -> None:
    put(server, INPUT, DATA)
    none = Objects(read_object_settings({**environment(server.endpoint), "STORAGE_READ_PREFIXES": ""}))
    with pytest.raises(InvalidInput, match="this worker has no STORAGE_READ_PREFIXES"):
        none.read(INPUT)
    # A job that does not say whose it is gets nothing of a user's.
    nobody = Objects(read_object_settings(environment(server.endpoint)))
    with pytest.raises(InvalidInput, match="below no prefix"):
        nobody.read(INPUT)
    with pytest.raises(InvalidInput, match="below no prefix"):
        nobody.of(user_id="").read(INPUT)
    put(server, "shared/x", DATA)
    assert nobody.read("shared/x") == DATA
    # Of another bucket all may be written, and nothing read.
    assert nobody.write("any/where", DATA, "other")
    with pytest.raises(InvalidInput, match=r"s3://other/any/where: may not be read"):
        nobody.read("any/where", "other")
    with pytest.raises(InvalidInput, match=r"s3://other/shared/x: may not be read"):
        nobody.read("shared/x", "other")


def test_a_damaged_object_is_not_taken(server: SeaweedFS) -> None:
    put(server, INPUT, DATA, Metadata={"sha256": "0" * 64})
    with pytest.raises(InvalidInput, match=rf"s3://{BUCKET}/{INPUT}: is damaged"):
        objects_at(server).read(INPUT)
    put(server, INPUT, DATA, Metadata={"sha256": facts(DATA)["sha256"]})
    assert objects_at(server).read(INPUT) == DATA


def test_objects_that_are_too_large(server: SeaweedFS) -> None:
    put(server, INPUT, DATA)
    with pytest.raises(InvalidInput, match=rf"{INPUT}: has 1000 bytes, and 999 are allowed"):
        objects_at(server, STORAGE_MAX_BYTES="999").read(INPUT)
    with pytest.raises(InvalidInput, match="has 1000 bytes, and 10 are allowed"):
        objects_at(server).read(INPUT, most=10)
    with pytest.raises(InvalidInput, match=r"1000 bytes are more than .*STORAGE_MAX_BYTES: 999"):
        objects_at(server, STORAGE_MAX_BYTES="999").write(OUTPUT, DATA)


def test_what_is_not_there(server: SeaweedFS) -> None:
    with pytest.raises(InvalidInput, match=rf"s3://{BUCKET}/inputs/u_abc/none: there is no such object"):
        objects_at(server).read("inputs/u_abc/none")
    lost = objects_at(
        server, STORAGE_READ_PREFIXES="s3://no-such-bucket/", STORAGE_WRITE_PREFIXES="s3://no-such-bucket/"
    )
    for act in (
        lambda: lost.read("a/b", "no-such-bucket"),
        lambda: lost.write("a/b", DATA, "no-such-bucket"),
    ):
        with pytest.raises(StoreError, match=r"s3://no-such-bucket/a/b: There is no such bucket.*STORAGE_B"):
            act()
    homeless = Objects(read_object_settings({"STORAGE_READ_PREFIXES": "s3://other/"}))
    with pytest.raises(InvalidInput, match="Name one, or set STORAGE_BUCKET"):
        homeless.read("a/b")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (Keys(WRITER.access, "no-such-secret-81f2"), "does not accept the keys. Correct STORAGE_ACCESS_KEY"),
        (Keys("nobody-here-4c", "no-such-secret-81f2"), "does not accept the keys"),
        (READER, "The keys may not do this. Give them .* STORAGE_WRITE_PREFIXES"),
    ],
)
def test_keys_of_the_storage_that_are_wrong(
    server: SeaweedFS, keys: Keys, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "snakefold")
    objects = objects_at(server, keys=keys)
    with pytest.raises(StoreError, match=rf"^s3://{BUCKET}/{OUTPUT}.new: .*{expected}") as caught:
        objects.write(f"{OUTPUT}.new", DATA)
    said = [str(caught.value), repr(objects.settings), caplog.text]
    assert not any(word in text for word in (keys.secret, "nobody-here") for text in said)


def test_keys_that_may_write_and_not_read(server: SeaweedFS) -> None:
    with proxying(server) as proxy:
        proxy.refused = ("HEAD", "GET")
        assert objects_at(proxy).write("previews/blind", DATA, request="a" * 64)
        assert not objects_at(proxy).answered("a" * 64, ["previews/blind"])
    assert server.client().get_object(Bucket=BUCKET, Key="previews/blind")["Body"].read() == DATA


def test_a_storage_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "wait", lambda _: None)
    settings = read_object_settings(environment("http://127.0.0.1:9"))
    with pytest.raises(
        StoreError, match=rf"s3://{BUCKET}/shared/x: The server cannot be reached\. Check STORAGE_S3_ENDPOINT"
    ):
        Objects(settings).read("shared/x")


def test_keys_that_boto3_finds(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment(server.endpoint)
    del given["STORAGE_ACCESS_KEY"], given["STORAGE_SECRET_KEY"]
    put(server, "shared/y", DATA)
    with pytest.raises(StoreError, match=r"There are no keys\. Set STORAGE_ACCESS_KEY and STORAGE_SECRET"):
        Objects(read_object_settings(given)).read("shared/y")
    for name, value in WRITER.environment().items():
        monkeypatch.setenv(name, value)
    assert Objects(read_object_settings(given)).read("shared/y") == DATA


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"STORAGE_S3_ENDPOINT": "localhost"}, "STORAGE_S3_ENDPOINT is no address"),
        ({"STORAGE_S3_ENDPOINT": "https://user:hush@host"}, "STORAGE_S3_ENDPOINT has a user or a password"),
        ({"STORAGE_SECRET_KEY": ""}, "STORAGE_SECRET_KEY is not set"),
        ({"STORAGE_ACCESS_KEY": ""}, "STORAGE_ACCESS_KEY is not set"),
        ({"STORAGE_BUCKET": "a/b"}, "STORAGE_BUCKET: 'a/b' is no name"),
        ({"STORAGE_BUCKET": ""}, "names no bucket"),
        ({"STORAGE_READ_PREFIXES": "/"}, "is no prefix"),
        ({"STORAGE_READ_PREFIXES": "s3://other"}, "is no prefix"),
        ({"STORAGE_READ_PREFIXES": "inputs/../"}, "is no prefix"),
        ({"STORAGE_READ_PREFIXES": "inputs/{user}/"}, "expected {user_id} or {job_id}"),
        ({"STORAGE_READ_PREFIXES": "inputs/{user_id/"}, "expected {user_id} or {job_id}"),
        ({"STORAGE_WRITE_PREFIXES": "s3:///x"}, "STORAGE_WRITE_PREFIXES: 's3:///x' names no bucket"),
        ({"STORAGE_MAX_BYTES": "4G"}, "STORAGE_MAX_BYTES: expected a whole number"),
        ({"STORAGE_MAX_BYTES": "0"}, "STORAGE_MAX_BYTES: expected a whole number"),
    ],
)
def test_settings_that_are_wrong_end_the_worker(changes: dict[str, str], expected: str) -> None:
    with pytest.raises(SnakefoldError, match=expected) as caught:
        read_settings({**environment("https://storage.example"), **changes})
    assert not any(secret in str(caught.value) for secret in ("hush", WRITER.secret))


def test_the_region_is_auto_where_an_endpoint_is_named() -> None:
    assert read_object_settings({"STORAGE_S3_ENDPOINT": "https://x.example"}).region == "auto"
    assert read_object_settings({}).region is None
    assert read_object_settings({"AWS_DEFAULT_REGION": "eu-west-1"}).region == "eu-west-1"
    both = {"AWS_DEFAULT_REGION": "eu-west-1", "STORAGE_REGION": "weur"}
    assert read_object_settings(both).region == "weur"


def test_parts_and_sinks_by_key(tmp_path: Path, server: SeaweedFS) -> None:
    given = {
        **environment(server.endpoint),
        "STORAGE_READ_PREFIXES": "shared/",
        "RUNPOD_VOLUME_PATH": str(tmp_path / "volume"),
        "SNAKEFOLD_STORE": str(tmp_path / "store"),
    }
    settings = read_settings(given)
    transfer = Transfer(settings, open_store(settings.store), Network())
    put(server, "shared/inputs.tar.zst", DATA)
    part = Part(**facts(DATA), key="shared/inputs.tar.zst")
    assert transfer.read("inputs", part) == DATA
    assert transfer.read("inputs", Part(**facts(DATA), key="shared/inputs.tar.zst", bucket=BUCKET)) == DATA
    result = transfer.deliver("archive", DATA, Sink(key="previews/b1.tar.zst"))
    assert result == Result(**facts(DATA), stored=True, bucket=BUCKET, key="previews/b1.tar.zst")
    elsewhere = transfer.deliver("archive", DATA, Sink(key="x/b1.tar.zst", bucket="other"))
    assert (elsewhere.bucket, elsewhere.key) == ("other", "x/b1.tar.zst")
    assert (
        server.client().head_object(Bucket="other", Key="x/b1.tar.zst")["ContentType"] == "application/zstd"
    )
    with pytest.raises(InvalidInput, match=r"files\.inputs: s3://s3-images/inputs/u_abc/x: may not be read"):
        transfer.read("inputs", Part(**facts(DATA), key="inputs/u_abc/x"))
    with pytest.raises(InvalidInput, match=r"results\.archive: s3://s3-images/x: may not be written"):
        transfer.deliver("archive", DATA, Sink(key="x"))
    # The object is another than the request says, whatever its metadata is.
    put(server, "shared/inputs.tar.zst", DATA[:-1] + b"?")
    with pytest.raises(InvalidInput, match=r"files\.inputs: 1000 bytes that are not"):
        transfer.read("inputs", part)
    put(server, "shared/inputs.tar.zst", DATA * 2)
    with pytest.raises(InvalidInput, match=r"files\.inputs: .*has 2000 bytes, and 1000 are allowed"):
        transfer.read("inputs", part)
    assert json.loads(result.model_dump_json(exclude_none=True))["key"] == "previews/b1.tar.zst"


def test_a_bucket_alone_is_no_place() -> None:
    with pytest.raises(ValueError, match="bucket: expected beside key"):
        Sink(inline=True, bucket="other")
    with pytest.raises(ValueError, match="exactly one of base64, url, path and key"):
        Part(**facts(DATA), key="a", path="b")
