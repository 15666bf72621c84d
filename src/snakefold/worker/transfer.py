"""Parts in, results out: inline, over presigned addresses, on the volume, in a bucket; every byte checked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakefold.kernel.envelope import INLINE_LIMIT, RESERVED, TEXT_LIMIT, Part, Result, Sink
from snakefold.kernel.errors import Reason, SnakefoldError, StoreError
from snakefold.kernel.store import Entry, Store, write_atomically
from snakefold.worker.endpoints.checked import InvalidInput
from snakefold.worker.failures import JobError
from snakefold.worker.fetch import Answer, Network, Refused, call, shown
from snakefold.worker.objects import Objects
from snakefold.worker.settings import Settings

_LARGEST_PART = 4 << 30
_TIMEOUT = 1800.0
_TRIES = 4
_FIRST_WAIT = 0.5
#: Seconds that a presigned address of the results bucket holds: RunPod keeps a response for 30 minutes.
_PRESIGNED_FOR = 24 * 3600
_MORE = TEXT_LIMIT - (INLINE_LIMIT - RESERVED)


def volume_path(volume: Path | None, path: str) -> Path:
    """Where a path of the network volume is. Links that lead out of the volume are refused.

    Raises:
        InvalidInput: there is no volume, or the path leaves it.
    """
    if volume is None:
        raise InvalidInput(f"path {path!r}: this worker has no network volume.")
    root = volume.resolve()
    place = (root / path).resolve()
    if not place.is_relative_to(root) or place == root:
        raise InvalidInput(f"path {path!r}: leads out of the network volume.")
    return place


@dataclass
class Transfer:
    """Moves the parts and results of one response, whose inline results share one limit."""

    settings: Settings
    store: Store
    network: Network
    inline_left: int = INLINE_LIMIT - RESERVED
    seconds: dict[str, float] = field(default_factory=dict)
    objects: Objects = field(init=False)

    def __post_init__(self) -> None:
        self.objects = Objects(self.settings.objects)

    def read(self, name: str, part: Part) -> bytes:
        """The bytes of a part.

        Raises:
            InvalidInput: they are not there, or not what size and sha256 say.
        """
        started = time.monotonic()
        if part.size > _LARGEST_PART:
            raise InvalidInput(f"files.{name}: {part.size} bytes are more than {_LARGEST_PART}.")
        data = self._bytes(name, part)
        if len(data) != part.size or hashlib.sha256(data).hexdigest() != part.sha256:
            raise InvalidInput(
                f"files.{name}: {len(data)} bytes that are not what `size` ({part.size}) and `sha256` say."
            )
        self._add("read", started)
        return data

    @contextmanager
    def all_room(self) -> Iterator[None]:
        """Inline results may fill an answer up to RunPod's limit: for programs that read nothing else."""
        self.inline_left += _MORE
        try:
            yield
        finally:
            self.inline_left = max(0, self.inline_left - _MORE)

    def deliver(
        self, name: str, data: bytes, sink: Sink, *, text: bool = False, most: int | None = None
    ) -> Result:
        """Put a result where its sink says; one that is too large to be inline goes elsewhere.

        Args:
            name: of the file, where one must be chosen.
            text: inline as text instead of base64.
            most: bytes that are inline at the most, whatever room there is.

        Raises:
            JobError, SnakefoldError: it cannot be put there; what was computed is in the store.
        """
        started = time.monotonic()
        facts: dict[str, Any] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if sink.url is not None:
            self._upload(name, sink.url, data)
            facts["stored"] = True
        elif sink.path is not None:
            facts |= self._write(sink.path, data)
        elif sink.key is not None:
            self.objects.write(sink.key, data, sink.bucket, what=f"results.{name}")
            facts |= {"stored": True, "bucket": self.objects.bucket_of(sink.bucket), "key": sink.key}
        elif (most is None or len(data) <= most) and (inline := self._inline(data, text)) is not None:
            facts |= inline
        else:
            facts |= self._elsewhere(name, data, facts["sha256"])
        self._add("write", started)
        return Result(**facts)

    def _bytes(self, name: str, part: Part) -> bytes:
        if part.base64 is not None:
            try:
                return base64.b64decode(part.base64, validate=True)
            except (binascii.Error, ValueError) as error:
                raise InvalidInput(f"files.{name}: `base64` is none.") from error
        if part.path is not None:
            path = volume_path(self.settings.volume, part.path)
            try:
                if path.stat().st_size != part.size:
                    raise InvalidInput(f"files.{name}: the file on the volume has another size.")
                return path.read_bytes()
            except OSError as error:
                raise InvalidInput(f"files.{name}: cannot be read from the volume ({error}).") from error
        if part.key is not None:
            return self.objects.read(part.key, part.bucket, most=part.size, what=f"files.{name}")
        url = str(part.url)
        answer = self._again(f"files.{name}", lambda: self._call("GET", url, part.size))
        if answer.status != http.client.OK:
            raise InvalidInput(f"files.{name}: {shown(url)} answered with status {answer.status}.")
        return answer.body

    def _inline(self, data: bytes, text: bool) -> dict[str, str] | None:
        if len(data) > self.inline_left:
            return None
        inline = {"text": data.decode()} if text else {"base64": base64.b64encode(data).decode()}
        # As it travels: JSON writes a tab as two characters.
        return inline if self.takes(len(json.dumps(inline))) else None

    def takes(self, size: int) -> bool:
        """Whether so many bytes more fit into the answer; if so, they count."""
        if size > self.inline_left:
            return False
        self.inline_left -= size
        return True

    def _elsewhere(self, name: str, data: bytes, sha256: str) -> dict[str, Any]:
        if self.settings.volume is not None:
            return self._write(f"snakefold-results/{sha256}/{name}", data)
        if self.settings.results is not None:
            return {"stored": True, "url": self._to_bucket(f"{sha256}/{name}", data)}
        if self.store.local is None:
            entry = Entry("response", "results", sha256)
            self.store.put(entry, data)
            return {"stored": True, "store": entry.name}
        raise JobError(
            Reason.INVALID_INPUT,
            f"{name} has {len(data)} bytes, too many to be inline, and the worker has no volume, results "
            "bucket or store on S3. Send a sink with `url`, `path` or `key`: nothing will be computed again.",
        )

    def _write(self, path: str, data: bytes) -> dict[str, Any]:
        place = volume_path(self.settings.volume, path)
        try:
            write_atomically(place, data)
            size = place.stat().st_size
        except OSError as error:
            raise StoreError(f"{path}: cannot be written to the network volume ({error}).") from error
        if size != len(data):
            raise StoreError(f"{path}: the network volume kept {size} of {len(data)} bytes.")
        return {"stored": True, "path": path}

    def _upload(self, name: str, url: str, data: bytes) -> None:
        # Neither a HEAD nor another header (Content-MD5, of signatures of version 2) is what the address was
        # signed for: whoever signed it looks whether the object has its size.
        answer = self._again(f"results.{name}", lambda: self._call("PUT", url, 1 << 20, data))
        if answer.status not in (http.client.OK, http.client.CREATED, http.client.NO_CONTENT):
            raise InvalidInput(f"results.{name}: {shown(url)} refused it with status {answer.status}.")

    def _call(self, method: str, url: str, limit: int, data: bytes | None = None) -> Answer:
        return call(
            method,
            url,
            limit=limit,
            deadline=time.monotonic() + _TIMEOUT,
            network=self.network,
            body=data,
        )

    def _again(self, what: str, attempt: Callable[[], Answer]) -> Answer:
        """Repeat what may pass: lost connections, 429 and 5xx."""
        problem = ""
        for number in range(_TRIES):
            if number:
                time.sleep(_FIRST_WAIT * 2 ** (number - 1))
            try:
                answer = attempt()
            except Refused:
                raise
            except (OSError, http.client.HTTPException) as error:
                problem = type(error).__name__
                continue
            if answer.status != http.client.TOO_MANY_REQUESTS and answer.status < 500:
                return answer
            problem = f"status {answer.status}"
        raise SnakefoldError(f"{what}: tried {_TRIES} times, {problem}.")

    def _to_bucket(self, name: str, data: bytes) -> str:
        from snakefold.kernel.media import content_type
        from snakefold.kernel.store.bucket import Bucket
        from snakefold.kernel.store.location import parse_location

        place = parse_location(str(self.settings.results))
        if isinstance(place, Path):
            raise SnakefoldError("SNAKEFOLD_RESULTS: expected s3://bucket/prefix.")
        bucket = Bucket(place, tries=_TRIES, look=False)
        bucket.upload(name, data, ContentType=content_type(name))
        found = bucket.head(name)
        size = 0 if found is None else int(found["ContentLength"])
        if size != len(data):
            raise StoreError(f"{bucket.where(name)}: kept {size} of {len(data)} bytes.")
        return bucket.presigned(name, _PRESIGNED_FOR)

    def _add(self, what: str, started: float) -> None:
        self.seconds[what] = round(self.seconds.get(what, 0.0) + time.monotonic() - started, 3)
