"""Files below a folder to a prefix on S3: `python -m snakefold.msa.databases.upload FOLDER s3://bucket/prefix?…`.

Every file is read back, since not every server compares what arrives with a checksum. What arrived is listed
in `SHA256SUMS` beside the files, as `sha256sum --check` reads it: a call that was stopped goes on with the
first file that the list does not have.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

from snakefold.kernel.errors import SnakefoldError, StoreError
from snakefold.kernel.store.bucket import Bucket
from snakefold.kernel.store.location import S3Location, parse_location

LIST = "SHA256SUMS"


def upload(folder: Path, location: str, log: Callable[[str], object]) -> list[str]:
    """Send every file below `folder` that `location` does not have.

    Args:
        location: `s3://bucket/prefix?endpoint_url=…&region=…`; keys come from the environment or ~/.aws.

    Returns:
        Names of the files sent.

    Raises:
        StoreError: what is wrong with location, keys, bucket or server, and what to do.
    """
    bucket = open_bucket(location)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if _counts(path)}
    if not files:
        raise SnakefoldError(f"{folder}: no files to send.")
    there = {each.name: each.size for each in bucket.listing()}
    listed = _read_list(bucket)
    sent = []
    for name, path in files.items():
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        size = path.stat().st_size
        if listed.get(name) == sha256 and there.get(name) == size:
            log(f"{name}: there already")
            continue
        log(f"{name}: {size:,} bytes")
        send(bucket, name, path, sha256)
        listed[name] = sha256
        text = "".join(f"{listed[name]}  {name}\n" for name in sorted(listed))
        bucket.upload(LIST, text.encode())
        sent.append(name)
    return sent


def open_bucket(location: str) -> Bucket:
    """The prefix that a location names.

    Raises:
        StoreError: it is none on S3, or it cannot be listed.
    """
    place = parse_location(location)
    if not isinstance(place, S3Location):
        raise StoreError(f"{location}: expected s3://bucket/prefix.")
    return Bucket(place)


def send(bucket: Bucket, name: str, path: Path, sha256: str) -> None:
    """Send one file and see that it arrived.

    Raises:
        StoreError: it could not be sent, or is another there.
    """
    bucket.upload(name, path)
    if bucket.sha256(name) != sha256:
        raise StoreError(
            f"{bucket.where(name)}: what arrived has another sha256 than what was sent. Try again; if it "
            "stays so, check the storage."
        )


def _read_list(bucket: Bucket) -> dict[str, str]:
    """sha256 by name of what was sent."""
    found = bucket.read(LIST)
    lines = found[0].decode(errors="replace").splitlines() if found else []
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}


def _counts(path: Path) -> bool:
    return path.is_file() and path.suffix not in (".part", ".etag") and not path.name.startswith(".")


def main() -> int:
    """Entry point of the module."""
    parser = argparse.ArgumentParser(prog="python -m snakefold.msa.databases.upload", description=__doc__)
    parser.add_argument("folder", type=Path, help="its files are sent")
    parser.add_argument("location", help="s3://bucket/prefix?endpoint_url=…&region=…")
    parser.add_argument("--check", action="store_true", help="only see that the prefix can be written")
    options = parser.parse_args()
    try:
        if options.check:
            open_bucket(options.location).check_writable(LIST)
        else:
            upload(options.folder, options.location, lambda line: print(line, flush=True))
    except SnakefoldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
