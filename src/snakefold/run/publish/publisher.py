"""Sends what is new or changed, and sees that all of it is there, before the manifest says so."""

from __future__ import annotations

import base64
import filecmp
import hashlib
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel.errors import SnakefoldError, StoreError
from snakefold.kernel.media import content_type
from snakefold.kernel.store.atomic import replacing
from snakefold.kernel.store.bucket import Bucket, Object, wait
from snakefold.kernel.store.location import S3Location, parse_location
from snakefold.kernel.store.parallel import Log, Progress, in_threads
from snakefold.run.publish.ledger import COLUMNS, COPY_COLUMNS, Known, Ledger, line
from snakefold.run.publish.products import (
    PRODUCTS,
    SUMMARY,
    File,
    file_at,
    published_files,
    write_summary,
)

#: What is there, in the destination; with the times of files, in the results folder.
MANIFEST = "published.tsv"
#: Metadata of an object: where a call was interrupted, it says what is there already.
_SHA256 = "sha256"
#: Passes over all files: after one that sent something, another looks whether it is there and still the same.
_PASSES = 5
#: Requests at once. Most files are small, and a request is mostly waiting.
_THREADS = 16
#: Bytes. A larger file is read piece by piece.
_SMALL = 8 << 20


@dataclass
class Published:
    """What a call found and did: files and bytes of the run, files and bytes sent, names left out."""

    files: int = 0
    size: int = 0
    sent: int = 0
    sent_size: int = 0
    left_out: int = 0


@dataclass(frozen=True)
class _Seen:
    """A file after a worker had it; no sum: it went away meanwhile."""

    file: File
    sha256: str | None
    sent: bool


def open_destination(location: str) -> Bucket:
    """The bucket and prefix that `location` names, asked whether the keys may list and write there.

    Raises:
        StoreError: it is no place on S3, or keys, bucket or server are wrong; the text says what to do.
    """
    place = parse_location(location)
    if not isinstance(place, S3Location):
        raise StoreError(
            f"publish: {location}: is a folder. Expected s3://bucket/prefix?endpoint_url=…&region=…; to have "
            "results in another folder, name it with the setting `results`."
        )
    try:
        bucket = Bucket(place)
        bucket.check_writable(MANIFEST)
    except StoreError as error:
        raise StoreError(f"publish: {error}") from error
    return bucket


def publish(results: Path, bucket: Bucket, log: Log) -> Published:
    """Send the products of the run in `results`; what is there already, and the same, is not sent again.

    Interrupted, it goes on with what is left when it is called again. Files there that are not of this run
    stay, and the manifest does not name them.

    Raises:
        SnakefoldError: `results` is no finished run's, a file cannot be read, or does not stop changing.
        StoreError: the server cannot be reached, refuses, or does not keep what it was sent.
    """
    with (
        closing(Ledger()) as ledger,
        tempfile.TemporaryDirectory(prefix="snakefold-publish-") as work,
    ):
        return _Publisher(results, bucket, log, ledger, Path(work)).run()


class _Publisher:
    """One call: its passes share what they know."""

    def __init__(self, results: Path, bucket: Bucket, log: Log, ledger: Ledger, work: Path) -> None:
        self._results, self._bucket, self._log, self._ledger = results, bucket, log, ledger
        self._summary, self._before, self._manifest = (work / name for name in (SUMMARY, "before", "after"))
        self._left_out: set[str] = set()
        self._changing = threading.Lock()
        self._withdrawn = False
        self._progress = Progress(f"publish to {bucket.where()}", log, called=("file sent", "files sent"))

    def run(self) -> Published:
        self._ledger.take_copy(self._results / MANIFEST)
        self._ledger.take_listing(self._objects())
        self._take_manifest()
        for number in range(1, _PASSES + 1):
            wait(max(0, number - 2))
            restless = self._pass(number)
            if not restless:
                return self._finish(number)
            self._ledger.take_listing(self._objects())
        raise SnakefoldError(
            f"{self._results / restless}: was sent {_PASSES} times. Either it is being changed: end what "
            "writes into it. Or the server does not keep it: check the storage's free space and state."
        )

    def _objects(self) -> Iterator[Object]:
        """What is there of a run, whatever else is."""
        for product in (*PRODUCTS, SUMMARY, MANIFEST):
            for each in self._bucket.listing(product):
                if product in (each.name, f"{each.name.partition('/')[0]}/"):
                    yield each

    def _take_manifest(self) -> None:
        there = self._ledger.there(MANIFEST)
        if there:
            with self._before.open("w+b") as stream:
                self._bucket.download(MANIFEST, stream)
            self._ledger.take_manifest(self._before, there.modified)

    def _pass(self, number: int) -> str:
        """Send what has to be; returns a file that was sent, or that went away meanwhile, if one was."""
        restless = ""
        for seen in in_threads(self._send, self._files(), _THREADS):
            if seen.sha256 is not None:
                self._ledger.note(seen.file, seen.sha256, number)
            if seen.sent or seen.sha256 is None:
                restless = seen.file.name
            if seen.sent:
                self._progress.add(seen.file.size)
        return restless

    def _files(self) -> Iterator[tuple[File, Known]]:
        for file in published_files(self._results, self._leave_out):
            yield file, self._ledger.known(file)
        write_summary(self._results, self._summary)
        if summary := file_at(SUMMARY, self._summary):
            yield summary, self._ledger.known(summary)

    def _leave_out(self, name: str, why: str) -> None:
        if name not in self._left_out:
            self._left_out.add(name)
            self._log(f"left out: {name}: {why}")

    def _send(self, task: tuple[File, Known]) -> _Seen:
        file, known = task
        try:
            sha256, content = (known.sha256, None) if known.sha256 else _read(file)
            if self._has(file, sha256, known):
                return _Seen(file, sha256, sent=False)
            self._withdraw()
            if content is None and file.size <= _SMALL:
                sha256, content = _read(file)
            headers = {"ContentType": content_type(file.name), "Metadata": {_SHA256: sha256}}
            if content is None:
                self._bucket.upload(file.name, file.path, **headers)
            else:
                self._bucket.upload(file.name, content, **headers, ContentMD5=_md5(content))
        except FileNotFoundError:
            return _Seen(file, None, sent=False)
        except OSError as error:
            raise SnakefoldError(
                f"{file.path}: cannot be read ({error}). Correct its permissions."
            ) from error
        return _Seen(file, sha256, sent=True)

    def _has(self, file: File, sha256: str, known: Known) -> bool:
        """Whether the destination has a file: by its manifest, or else by what an interrupted call noted."""
        if known.size_there != file.size:
            return False
        if known.sent:
            return known.sent == (file.size, sha256)
        found = self._bucket.head(file.name)
        return found is not None and found.get("Metadata", {}).get(_SHA256) == sha256

    def _withdraw(self) -> None:
        """Take the manifest away: what it says is about to be wrong."""
        with self._changing:
            if not self._withdrawn and self._before.exists():
                try:
                    self._bucket.delete(MANIFEST)
                except StoreError:  # services exist that cannot delete
                    self._bucket.upload(MANIFEST, b"")
            self._withdrawn = True

    def _finish(self, number: int) -> Published:
        """Write the manifest, if it says something new, and its copy here."""
        done = Published(sent=self._progress.entries, sent_size=self._progress.size)
        done.left_out = len(self._left_out)
        with self._manifest.open("wb") as manifest, replacing(self._results / MANIFEST) as copy:
            manifest.write(line(COLUMNS))
            copy.write(line(COPY_COLUMNS))
            for row in self._ledger.files(number):
                manifest.write(line(row[: len(COLUMNS)]))
                copy.write(line(row))
                done.files, done.size = done.files + 1, done.size + row[1]
        same = self._before.exists() and filecmp.cmp(self._before, self._manifest, shallow=False)
        if self._withdrawn or not same:
            self._bucket.upload(MANIFEST, self._manifest, ContentType=content_type(MANIFEST))
            found = self._bucket.head(MANIFEST)
            if found is None or found["ContentLength"] != self._manifest.stat().st_size:
                raise StoreError(
                    f"{self._bucket.where(MANIFEST)}: was sent, and the server does not have it. Check the "
                    "storage's free space and state, and publish again."
                )
        return done


def _read(file: File) -> tuple[str, bytes | None]:
    """A file's sha256, and its bytes if it is small. If it changes meanwhile, the next pass sees that."""
    with file.path.open("rb") as stream:
        if file.size > _SMALL:
            return hashlib.file_digest(stream, "sha256").hexdigest(), None
        content = stream.read(file.size)
    return hashlib.sha256(content).hexdigest(), content


def _md5(content: bytes) -> str:
    """What a server compares with what arrived."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
