"""Locations of stores: what they name, and that no secret in one is taken or repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold.config import load_config
from snakefold.kernel.errors import ConfigError, StoreError
from snakefold.kernel.store import open_store
from snakefold.kernel.store.folder import FolderStore
from snakefold.kernel.store.location import S3Location, parse_location

RIGHT = {
    "s3://bucket": S3Location("bucket"),
    "s3://bucket/": S3Location("bucket"),
    "s3://bucket/a/b/": S3Location("bucket", "a/b"),
    "S3://bucket/a": S3Location("bucket", "a"),
    "s3://my.bucket-1/a?region=eu-central-1": S3Location("my.bucket-1", "a", None, "eu-central-1"),
    "s3://bucket?endpoint_url=http://127.0.0.1:8333": S3Location("bucket", "", "http://127.0.0.1:8333"),
    "s3://bucket/a?addressing_style=path&endpoint_url=https%3A%2F%2Fs3.example.org%2Fx": S3Location(
        "bucket", "a", "https://s3.example.org/x", None, "path"
    ),
}


@pytest.mark.parametrize(("text", "place"), RIGHT.items())
def test_locations_on_s3(text: str, place: S3Location) -> None:
    assert parse_location(text) == place
    assert parse_location(str(place)) == place
    assert load_config({"store": text}).store == text


@pytest.mark.parametrize("text", ["store", "/data/store", "../store", "s3", "s3/bucket", "a:b"])
def test_folders(text: str) -> None:
    assert parse_location(text) == Path(text)
    assert isinstance(open_store(text), FolderStore)
    assert open_store(text).local == Path(text)


SECRET = "wJalrXUtnFEMI"  # noqa: S105
SECRETS = [
    f"s3://AKIA:{SECRET}@bucket/x",
    f"s3://AKIA:{SECRET}/more@bucket/x",
    f"s3://{SECRET}@bucket/x",
    f"s3://AKIA:{SECRET}",
    f"s3://bucket?aws_secret_access_key={SECRET}",
    f"s3://bucket?access_key={SECRET}",
    f"s3://bucket?AWS_SESSION_TOKEN={SECRET}",
    f"s3://bucket?X-Amz-Signature={SECRET}",
    f"s3://bucket?endpoint_url=http://user:{SECRET}@host",
    f"s3://bucket?endpoint_url=http://host?signature={SECRET}",
    f"s3://bucket#{SECRET}",
    f"https://user:{SECRET}@host/bucket",
]


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(StoreError) as store_error:
        parse_location(text)
    with pytest.raises(ConfigError, match="store: ") as config_error:
        load_config({"store": text})
    assert SECRET not in str(store_error.value) + str(config_error.value)


WRONG = {
    "s3:": "cannot be read",
    "s3:bucket": "cannot be read",
    "s3:///x": "cannot be read",
    "s3://[x": "cannot be read",
    "s3://ab": "no name of a bucket",
    "s3://a b c": "no name of a bucket",
    "s3://bucket/../x": "cannot be part",
    "s3://bucket/a//b": "cannot be part",
    "s3://bucket/a b": "cannot be part",
    "s3://bucket/a%2fb": "cannot be part",
    "s3://bucket?regio=x": "Unknown parameter 'regio'",
    "s3://bucket?region=": "empty or given twice",
    "s3://bucket?region=a&region=b": "empty or given twice",
    "s3://bucket?region=a/b": "no region",
    "s3://bucket?addressing_style=paht": "not one of auto, path, virtual",
    "s3://bucket?endpoint_url=storage.example.org": "no address",
    "s3://bucket?endpoint_url=file:///etc": "no address",
    "s3://bucket?endpoint_url=http://host:99999": "no address",
    "gs://bucket/x": "'gs' is no kind of location",
    "file:///data": "'file' is no kind of location",
}


@pytest.mark.parametrize(("text", "says"), WRONG.items())
def test_what_is_no_location_is_named(text: str, says: str) -> None:
    with pytest.raises(StoreError, match=says):
        open_store(text)
    with pytest.raises(ConfigError, match=says):
        load_config({"store": text})


@given(st.text(max_size=40).map("s3:".__add__) | st.text(max_size=40).map("s3://bucket".__add__))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        place = parse_location(text)
    except StoreError:
        return
    assert isinstance(place, S3Location)
    assert parse_location(str(place)) == place
    assert ".." not in place.prefix.split("/")
