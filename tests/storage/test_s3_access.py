"""Who gets in, on a real S3 server: keys, profiles, buckets, clocks; and where secrets do not appear."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from snakefold import cli
from snakefold.kernel.errors import StoreError
from snakefold.kernel.store import open_store
from snakefold.kernel.store.maintenance import verify
from tests.servers.seaweedfs import READER, WRITER, Keys, SeaweedFS
from tests.storage.conftest import BUCKET, entry, prefix_of

Choose = Callable[[Keys | None], None]


def test_wrong_secret(server: SeaweedFS, s3_location: str, only_these_keys: Choose) -> None:
    only_these_keys(Keys(WRITER.access, "no-such-secret"))
    with pytest.raises(StoreError, match="does not accept the keys") as error:
        open_store(s3_location)
    assert f"s3://{BUCKET}/team/" in str(error.value)
    assert "no-such-secret" not in str(error.value)


def test_unknown_key(s3_location: str, only_these_keys: Choose) -> None:
    only_these_keys(Keys("nobody-here", "x"))
    with pytest.raises(StoreError, match="does not accept the keys") as error:
        open_store(s3_location)
    assert "nobody-here" not in str(error.value)


def test_no_keys(s3_location: str, only_these_keys: Choose) -> None:
    only_these_keys(None)
    with pytest.raises(StoreError, match=r"There are no keys\. Set AWS_ACCESS_KEY_ID"):
        open_store(s3_location)


def test_half_the_keys(s3_location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="One of the two keys is missing"):
        open_store(s3_location)


def test_no_such_profile(s3_location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match="AWS_PROFILE names a profile"):
        open_store(s3_location)


def test_keys_from_a_profile(s3_location: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text(f"[lab]\naws_access_key_id = {WRITER.access}\naws_secret_access_key = {WRITER.secret}\n")
    for name in WRITER.environment():
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    store = open_store(s3_location)
    store.put(entry(1), b"data")
    assert store.get(entry(1)) == b"data"


def test_missing_bucket(server: SeaweedFS) -> None:
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/x/: There is no such bucket. Create it"):
        open_store(server.location("no-such-bucket", "x"))


def test_bucket_removed_while_in_use(server: SeaweedFS) -> None:
    server.client().create_bucket(Bucket="short-lived")
    store = open_store(server.location("short-lived"))
    store.put(entry(1), b"data")
    store.remove(entry(1))
    server.client().delete_bucket(Bucket="short-lived")
    for act in (lambda: store.put(entry(1), b"x"), lambda: store.keys("a", "b")):
        with pytest.raises(StoreError, match="There is no such bucket"):
            act()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://no-such-host.invalid"])
def test_server_out_of_reach(endpoint: str) -> None:
    with pytest.raises(StoreError, match=r"cannot be reached\. Check endpoint_url"):
        open_store(f"s3://{BUCKET}?endpoint_url={endpoint}")


def test_not_a_secure_server(server: SeaweedFS) -> None:
    with pytest.raises(StoreError, match="No secure connection"):
        open_store(server.location(BUCKET).replace("http:", "https:"))


def test_wrong_clock(s3_location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is signed an hour ago; the server's own answer is what is explained."""
    import datetime

    from botocore import auth

    hour_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    monkeypatch.setattr(auth, "get_current_datetime", lambda *_, **__: hour_ago.replace(tzinfo=None))
    with pytest.raises(StoreError, match="clock is wrong"):
        open_store(s3_location)


def test_keys_that_may_only_read(s3_location: str, only_these_keys: Choose, server: SeaweedFS) -> None:
    writer = open_store(s3_location)
    writer.put(entry(1), b"data")
    name = f"{prefix_of(writer)}/{entry(2).name}"
    server.client().put_object(Bucket=BUCKET, Key=name, Body=b"damaged")
    only_these_keys(READER)
    store = open_store(s3_location)
    assert store.get(entry(1)) == b"data"
    assert store.keys("fold", "0123456789abcdef") == {entry(1).key, entry(2).key}
    for _ in range(2):  # it cannot be moved aside, and is absent all the same
        assert store.get(entry(2)) is None
        assert verify(store, print).damaged == [entry(2)]
    for act in (lambda: store.put(entry(1), b"x"), lambda: store.remove(entry(1))):
        with pytest.raises(StoreError, match="The keys may not do this") as error:
            act()
        assert entry(1).name in str(error.value)
    assert writer.get(entry(1)) == b"data"


def test_secrets_appear_nowhere(
    s3_location: str,
    only_these_keys: Choose,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Not in the log at its most talkative: boto's own is quiet about keys, ours must be too."""
    caplog.set_level(logging.DEBUG, "snakefold")
    store = open_store(s3_location)
    store.put(entry(1), b"data")
    said = [repr(store), str(store), store.location, repr(vars(store))]
    for action in (["stats"], ["verify"], ["export", str(tmp_path / "x.tar")]):
        cli.main(["store", *action, "--store", s3_location])
    only_these_keys(READER)
    for keys in (READER, Keys(WRITER.access, "wrong-secret-55e1")):
        only_these_keys(keys)
        assert cli.main(["store", "gc", "--keep", "0s", "--store", s3_location]) == 2
    out = capsys.readouterr()
    text = "\n".join([*said, out.out, out.err, caplog.text, (tmp_path / "x.tar").read_text(errors="replace")])
    assert entry(1).name in text
    for secret in (WRITER.secret, READER.secret, "wrong-secret-55e1"):
        assert secret not in text
