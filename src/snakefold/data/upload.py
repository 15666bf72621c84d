"""Files below a folder to a prefix on S3: `python -m snakefold.data.upload FOLDER s3://bucket/prefix?…`.

Every part is sent with its sha256 in the signature, and every file is read back, since not every server
compares the two. What arrived is listed in `SHA256SUMS` beside the files, as `sha256sum --check` reads it: a
call that was stopped goes on with the first file that the list does not have.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakefold.errors import SnakefoldError, StoreError

LIST = "SHA256SUMS"
_PART_BYTES = 32 << 20
_TRIES = 5


def upload(folder: Path, location: str, log: Callable[[str], object], pause: float = 2.0) -> list[str]:
    """Send every file below `folder` that `location` does not have.

    Args:
        location: `s3://bucket/prefix?endpoint_url=…&region=…`; keys come from the environment or ~/.aws.
        pause: seconds before the first new attempt at a file, doubled each time.

    Returns:
        Names of the files sent.

    Raises:
        StoreError: what is wrong with location, keys, bucket or server, and what to do.
    """
    bucket = _Bucket(location)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if _counts(path)}
    if not files:
        raise SnakefoldError(f"{folder}: no files to send.")
    there, listed = bucket.sizes(), bucket.read_list()
    sent = []
    for name, path in files.items():
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        size = path.stat().st_size
        if listed.get(name) == sha256 and there.get(name) == size:
            log(f"{name}: there already")
            continue
        log(f"{name}: {size:,} bytes")
        bucket.send(name, path, sha256, pause)
        listed[name] = sha256
        bucket.write_list(listed)
        sent.append(name)
    return sent


def check(location: str) -> None:
    """See that the prefix can be listed and written, before anything is fetched for it.

    Raises:
        StoreError: as `upload`.
    """
    bucket = _Bucket(location)
    bucket.write_list(bucket.read_list())


class _Bucket:
    """One prefix of a bucket."""

    def __init__(self, location: str) -> None:
        import boto3
        from botocore.config import Config

        from snakefold.store.location import S3Location, parse_location

        place = parse_location(location)
        if not isinstance(place, S3Location):
            raise StoreError(f"{location}: expected s3://bucket/prefix.")
        self._place = {"Bucket": place.bucket}
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        self._where = f"s3://{place.bucket}/{self._prefix}"
        with self._explained(""):
            self._s3: Any = boto3.session.Session().client(
                "s3",
                endpoint_url=place.endpoint_url,
                region_name=place.region,
                config=Config(
                    retries={"mode": "standard", "total_max_attempts": 4},
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={"addressing_style": place.addressing_style, "payload_signing_enabled": True},
                    user_agent_extra="snakefold",
                ),
            )

    def sizes(self) -> dict[str, int]:
        """Bytes of every object below the prefix."""
        found: dict[str, int] = {}
        with self._explained(""):
            for page in self._s3.get_paginator("list_objects_v2").paginate(
                **self._place, Prefix=self._prefix
            ):
                found |= {
                    each["Key"].removeprefix(self._prefix): each["Size"] for each in page.get("Contents", [])
                }
        return found

    def read_list(self) -> dict[str, str]:
        """sha256 by name of what was sent."""
        from snakefold.store.s3_errors import is_absent

        with self._explained(LIST):
            try:
                text = self._s3.get_object(**self._place, Key=self._prefix + LIST)["Body"].read().decode()
            except Exception as error:
                if is_absent(error):
                    return {}
                raise
        return {name: sha256 for sha256, _, name in (line.partition("  ") for line in text.splitlines())}

    def write_list(self, listed: dict[str, str]) -> None:
        """Replace the list."""
        text = "".join(f"{listed[name]}  {name}\n" for name in sorted(listed))
        with self._explained(LIST):
            self._s3.put_object(**self._place, Key=self._prefix + LIST, Body=text.encode())

    def send(self, name: str, path: Path, sha256: str, pause: float) -> None:
        """Send one file, again while what goes wrong may pass, and see that it arrived."""
        from boto3.s3.transfer import TransferConfig

        from snakefold.store.s3_errors import may_pass

        parts = TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4
        )
        place = {**self._place, "Key": self._prefix + name}
        with self._explained(name):
            for attempt in range(1, _TRIES + 1):
                try:
                    self._s3.upload_file(str(path), place["Bucket"], place["Key"], Config=parts)
                    arrived = self._sha256(place)
                except Exception as error:
                    if attempt == _TRIES or not may_pass(error):
                        raise
                    time.sleep(pause * 2 ** (attempt - 1))
                else:
                    break
        if arrived != sha256:
            raise StoreError(
                f"{self._where}{name}: what arrived has another sha256 than what was sent. Try again; if it "
                "stays so, check the storage."
            )

    def _sha256(self, place: dict[str, str]) -> str:
        digest = hashlib.sha256()
        for block in self._s3.get_object(**place)["Body"].iter_chunks(1 << 20):
            digest.update(block)
        return digest.hexdigest()

    def _explained(self, name: str) -> Any:
        from snakefold.store.s3_errors import explained

        return explained(f"{self._where}{name}")


def _counts(path: Path) -> bool:
    return path.is_file() and path.suffix not in (".part", ".etag") and not path.name.startswith(".")


def main() -> int:
    """Entry point of the module."""
    parser = argparse.ArgumentParser(prog="python -m snakefold.data.upload", description=__doc__)
    parser.add_argument("folder", type=Path, help="its files are sent")
    parser.add_argument("location", help="s3://bucket/prefix?endpoint_url=…&region=…")
    parser.add_argument("--check", action="store_true", help="only see that the prefix can be written")
    options = parser.parse_args()
    try:
        if options.check:
            check(options.location)
        else:
            upload(options.folder, options.location, lambda line: print(line, flush=True))
    except SnakefoldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
