"""How a job's files get to the worker and its results come back; nothing is believed without its sha256."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from . import payload
from .errors import JobError, UnavailableError
from .files import replacing
from .ledger import Ledger
from .limits import Backoff
from .payload import Part, Work
from .settings import VOLUME_KEYS, Configuration, is_safe
from .storage import Storage, download
from .uploads import Uploads

T = TypeVar("T")
INLINE_BYTES = 8_000_000
_MOST_BYTES = 1 << 40


class Transfer:
    """Envelopes out, results in.

    Args:
        storages: those that are configured, by `s3` and `volume`.
        ledger: of the working directory, whose name its objects bear.
    """

    def __init__(self, configuration: Configuration, storages: Mapping[str, Storage], ledger: Ledger) -> None:
        self._settings = configuration
        self._storages = dict(storages)
        self._name = ledger.name
        self.uploads = Uploads(f"{configuration.prefix}/inputs/{ledger.name}", ledger)

    async def send(self, work: Work, submission: int, policy: Mapping[str, int]) -> bytes:
        """The body of a submission; files that do not go inline are in storage when it returns.

        Raises:
            JobError: the files are too large for the ways that are configured, or cannot be read or stored.
        """
        if work.task.transfer == "json":
            return _within_limit(payload.body(work.request, policy), work)
        way = self._way(work)
        storage = self._storages.get(way)
        life = policy["ttl"] / 1000
        # Results of an unknown size: through storage wherever there is one. The worker may still answer
        # inline.
        sink = storage or (self._storages.get(self._stored_way()) if self._automatic(work) else None)
        results = {name: self._sink(sink, work, submission, name, life) for name in work.task.outputs}
        files = {part.name: await self._part(part, storage, life) for part in work.parts}
        return _within_limit(payload.body(payload.envelope(work, files, results), policy), work)

    async def receive(self, work: Work, submission: int, output: Any) -> dict[str, Any]:
        """Write the outputs of a job from what it returned; returns the answer without its data.

        Raises:
            JobError: the answer is not one, or is not what its sizes and sha256 say. Nothing is written then.
        """
        if work.task.transfer == "json":
            if output is None:
                raise JobError("the job is COMPLETED, but has no output", "no_output")
            (path,) = work.task.outputs.values()
            with replacing({"output": path}) as temporary:
                temporary["output"].write_text(json.dumps(output, indent=1) + "\n", encoding="utf-8")
            return {}
        answer = _checked(output, work)
        way = self._way(work)
        with replacing(work.task.outputs) as temporary:
            for name, given in answer["results"].items():
                await self._fetch(work, submission, name, given, temporary[name])
        if way in self._storages:
            self.uploads.read(work, self._storages[way])
        await self._tidy(work, submission, answer["results"])
        return {key: value for key, value in answer.items() if key != "results"}

    # Out

    def _automatic(self, work: Work) -> bool:
        return (work.task.transfer or self._settings.transfer) == "auto"

    def _stored_way(self) -> str:
        return "s3" if "s3" in self._storages else "volume"

    def _way(self, work: Work) -> str:
        way = work.task.transfer or self._settings.transfer
        if way == "auto":
            encoded = sum(part.size for part in work.parts) * 4 // 3 + len(json.dumps(work.request))
            if encoded < INLINE_BYTES - 100_000:
                return "inline"
            way = self._stored_way()
        if way != "inline" and way not in self._storages:
            size = sum(part.size for part in work.parts)
            raise JobError(
                f"rule {work.task.rule}: its inputs ({size / 1e6:.1f} MB) need to travel through storage, "
                "and none is "
                "configured. Set --runpod-bucket (S3), or --runpod-volume and --runpod-datacenter.",
                "invalid_input",
            )
        return way

    async def _part(self, part: Part, storage: Storage | None, life: float) -> dict[str, Any]:
        given: dict[str, Any] = {"size": part.size, "sha256": part.sha256}
        if storage is None:
            data = part.path.read_bytes()
            if len(data) != part.size or hashlib.sha256(data).hexdigest() != part.sha256:
                raise JobError(f"{part.path} changed while it was read", "input_changed")
            return {**given, "base64": base64.b64encode(data).decode()}
        key = await self._patiently(lambda: self.uploads.send(part, storage))
        if storage.volume:
            return {**given, "path": key}
        return {**given, "url": storage.url_to_get(key, life)}

    def _sink(
        self, storage: Storage | None, work: Work, submission: int, name: str, life: float
    ) -> dict[str, Any]:
        if storage is None:
            return {"inline": True}
        key = self._result_key(work, submission, name)
        return {"path": key} if storage.volume else {"url": storage.url_to_put(key, life)}

    def _result_key(self, work: Work, submission: int, name: str) -> str:
        # Of one submission only: two of the same work must not write to one place.
        return f"{self._settings.prefix}/results/{self._name}/{work.digest}/{submission}/{name}"

    # In

    async def _fetch(
        self, work: Work, submission: int, name: str, given: Mapping[str, Any], path: Path
    ) -> None:
        size, sha256 = given["size"], given["sha256"]
        if "base64" in given:
            data = _decoded(name, given["base64"])
            path.write_bytes(data)
            found, length = hashlib.sha256(data).hexdigest(), len(data)
        else:
            fetch = self._fetcher(work, submission, name, given)
            found = await self._patiently(lambda: asyncio.to_thread(fetch, path, size))
            length = (await asyncio.to_thread(path.stat)).st_size
        if length != size or found != sha256:
            raise JobError(
                f"result {name} is not what the worker sent: {length} bytes with sha256 {found[:12]}…, "
                f"expected {size} "
                f"bytes with {sha256[:12]}…",
                "corrupted",
            )

    def _fetcher(
        self, work: Work, submission: int, name: str, given: Mapping[str, Any]
    ) -> Callable[[Path, int], str]:
        """What writes a stored result to a file.

        It is where we asked for it, or where the worker put what was too large to be inline: on its volume,
        or behind a presigned address.

        Raises:
            JobError: it is where nothing here can read.
        """
        place, url = given.get("path"), given.get("url")
        storage, volume = self._storage_of_results(work), self._storages.get("volume")
        if isinstance(url, str) and is_safe(url):
            return lambda path, size: download(url, path, size)
        if isinstance(place, str) and volume is not None:
            return lambda path, size: volume.download(place, path, size)
        if storage is not None and place is None and "store" not in given:
            key = self._result_key(work, submission, name)
            return lambda path, size: storage.download(key, path, size)
        where = "on its network volume" if isinstance(place, str) else "in its own store"
        if storage is not None:
            raise JobError(f"result {name} is {where}, and not where it was asked for")
        # The job stays COMPLETED: with the volume, the next run has its result without paying again.
        raise JobError(
            f"result {name} ({given['size'] / 1e6:.1f} MB) was too large for the answer, the worker put it "
            f"{where}, and nothing here can read that. It is paid for and not lost: set --runpod-volume and "
            f"--runpod-datacenter (keys: {' and '.join(VOLUME_KEYS)}) or --runpod-bucket, and run again.",
            "unreadable",
        )

    def _storage_of_results(self, work: Work) -> Storage | None:
        return self._storages.get(self._stored_way() if self._automatic(work) else self._way(work))

    async def _tidy(self, work: Work, submission: int, results: Mapping[str, Any]) -> None:
        for name, given in results.items():
            storage = self._storage_of_results(work)
            if "base64" in given or storage is None:
                continue
            try:
                await asyncio.to_thread(storage.remove, self._result_key(work, submission, name))
            except (UnavailableError, JobError):
                return  # what is left there costs little, and the outputs are written

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        backoff = Backoff(self._settings.patience)
        while True:
            try:
                return await call()
            except UnavailableError as error:
                if backoff.spent():
                    raise JobError(f"{error} (tried for {self._settings.patience:g} s)", "storage") from error
                await backoff.wait()


def _within_limit(body: bytes, work: Work) -> bytes:
    if len(body) > INLINE_BYTES:
        raise JobError(
            f"rule {work.task.rule}: the request has {len(body) / 1e6:.1f} MB; {INLINE_BYTES / 1e6:g} MB "
            "can be sent "
            'inline. Have its files travel through storage: runpod_transfer="s3" or "volume".',
            "invalid_input",
        )
    return body


def _checked(output: Any, work: Work) -> dict[str, Any]:
    """An answer of the envelope's form, for this work, with exactly this work's results."""
    if output is None:
        raise JobError("the job is COMPLETED, but has no output", "no_output")
    if not isinstance(output, dict) or not isinstance(output.get("results"), dict):
        raise JobError(
            "what the job returned is not an answer to an envelope; an endpoint that knows none needs "
            'runpod_transfer="json"',
            "corrupted",
        )
    if output.get("version") != payload.VERSION:
        raise JobError(
            f"the worker answers in version {output.get('version')!r} of the envelope, not {payload.VERSION}"
        )
    if output.get("digest") != work.digest:
        raise JobError("the job returned the result of other work (its digest differs)", "corrupted")
    names = set(output["results"])
    if names != set(work.task.outputs):
        missing, extra = (
            sorted(set(work.task.outputs) - names),
            sorted(map(repr, names - set(work.task.outputs))),
        )
        raise JobError(
            f"the job returned other results than the rule's outputs: without "
            f"{', '.join(missing) or 'none'}, "
            f"besides {', '.join(extra)[:200] or 'none'}",
            "corrupted",
        )
    for name, given in output["results"].items():
        _check_part(name, given)
    return output


def _check_part(name: str, given: Any) -> None:
    size = given.get("size") if isinstance(given, dict) else None
    sha256 = given.get("sha256") if isinstance(given, dict) else None
    if (
        not isinstance(size, int)
        or isinstance(size, bool)
        or not 0 <= size < _MOST_BYTES
        or not isinstance(sha256, str)
        or len(sha256) != 64
    ):
        raise JobError(f"result {name} comes without its size and sha256", "corrupted")
    if "base64" in given:
        if not isinstance(given["base64"], str) or len(given["base64"]) > 4 * (size // 3 + 2):
            raise JobError(f"result {name} is longer than its size says", "corrupted")
    elif given.get("stored") is not True:
        raise JobError(f"result {name} is neither inline nor stored", "corrupted")


def _decoded(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise JobError(f"result {name} is no base64: {error}", "corrupted") from error
