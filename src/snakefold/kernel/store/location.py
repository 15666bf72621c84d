"""Locations of stores, and of published results: a folder, or an S3 prefix.

`s3://bucket/prefix?endpoint_url=…&region=…&addressing_style=path`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from snakefold.kernel.errors import StoreError

_PARAMETERS = ("endpoint_url", "region", "addressing_style")
_STYLES = ("auto", "path", "virtual")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_PREFIX_PART = re.compile(r"[A-Za-z0-9_.=+-]{1,128}")
_KEYS = (
    "Keys never go into a location, which is written to logs: put them into AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY or ~/.aws/credentials."
)


@dataclass(frozen=True)
class S3Location:
    """A bucket and what is below `prefix` in it ("" or a path without `/` at its ends)."""

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    addressing_style: str = "auto"

    def __str__(self) -> str:
        path = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        values = {
            "endpoint_url": self.endpoint_url,
            "region": self.region,
            "addressing_style": None if self.addressing_style == "auto" else self.addressing_style,
        }
        given = {name: value for name, value in values.items() if value}
        return f"{path}?{urlencode(given, safe=':/')}" if given else path


def is_s3(text: str) -> bool:
    """Whether the text is meant as a location on S3."""
    return text.lower().startswith("s3:")


def parse_location(text: str) -> Path | S3Location:
    """What a location names. Nothing is contacted.

    Raises:
        StoreError: it is no location, or has a secret in it. The text never repeats what may be a secret.
    """
    if not is_s3(text):
        if "://" in text:
            scheme = text.partition("://")[0]
            raise StoreError(
                f"{scheme!r:.20} is no kind of location. Expected a folder or s3://bucket/prefix."
            )
        return Path(text)
    parts = _split(text)
    # A secret key may have a slash in it, so that the @ behind it is part of the path.
    if "@" in text.partition("?")[0] or ":" in parts.netloc:
        raise StoreError(f"The location has a user or a password in it. {_KEYS}")
    values = _parameters(parts.query)
    endpoint, region = values.get("endpoint_url"), values.get("region")
    style = values.get("addressing_style", "auto")
    if endpoint is not None:
        check_endpoint(endpoint)
    if region is not None and not _REGION.fullmatch(region):
        raise StoreError(
            f"{region!r:.80} is no region, in the location. Expected a name such as eu-central-1."
        )
    if style not in _STYLES:
        raise StoreError(f"addressing_style={style:.40} in the location is not one of {', '.join(_STYLES)}.")
    if not _BUCKET.fullmatch(parts.netloc):
        raise StoreError(
            f"{parts.netloc!r:.80} is no name of a bucket. Expected s3://bucket/prefix, the "
            "bucket's name with 3 to 63 letters, digits, '.', '_' or '-'."
        )
    prefix = parts.path.strip("/")
    for part in prefix.split("/") if prefix else ():
        if not _PREFIX_PART.fullmatch(part) or part in (".", ".."):
            raise StoreError(f"{part!r:.80} cannot be part of a prefix. Use letters, digits and ._=+- only.")
    return S3Location(parts.netloc, prefix, endpoint, region, style)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise StoreError("The location cannot be read. Expected s3://bucket/prefix.") from error
    if parts.fragment or not parts.netloc:
        raise StoreError("The location cannot be read. Expected s3://bucket/prefix?name=value, without #.")
    return parts


def _parameters(query: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if re.search(r"key|secret|token|password|credential|sign", name.lower()):
            raise StoreError(f"The location has the parameter {name!r:.40}, a secret. {_KEYS}")
        if name not in _PARAMETERS:
            raise StoreError(
                f"Unknown parameter {name!r:.40} in the location. Expected {', '.join(_PARAMETERS)}."
            )
        if name in values or not value:
            raise StoreError(f"The parameter {name} of the location is empty or given twice.")
        values[name] = value
    return values


def check_endpoint(endpoint: str, what: str = "endpoint_url in the location") -> None:
    """See that an address may be that of an S3 service. Nothing is contacted.

    Args:
        what: where it was given, for messages.

    Raises:
        StoreError: it is none, or has a secret in it, which the text does not repeat.
    """
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    else:
        if "@" in endpoint:
            raise StoreError(f"{what} has a user or a password in it. {_KEYS}")
        usable = usable and not parts.query and not parts.fragment and endpoint.isprintable()
    if not usable:
        raise StoreError(f"{what} is no address. Expected https://host or http://host:port.")
