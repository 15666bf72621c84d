"""Jobs from a queue: a stream of Redis, read by a group of workers, each job by one of them at a time.

An entry of the stream has a field `job`, JSON of an id and an `input` of the worker's contracts. What becomes
of it is in `<stream>:result:<id>` for a day, and said in the stream `<stream>:ended`.

A job is delivered at least once. While a worker is at it, it says so; one that falls silent is taken over. A
job that fails for another reason than itself is tried again, also by other workers. After `tries` deliveries
it is set aside with the reason (`<stream>:dead`), so that a job that kills its worker does not kill them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from snakefold.kernel.envelope import LARGEST_ANSWER
from snakefold.kernel.errors import MissingProgramError, Reason, SnakefoldError
from snakefold.worker.failures import JobError, failure, without_secrets

Answer = Callable[..., Awaitable[dict[str, Any]]]
Log = Callable[[str], None]

URL, STREAM = "SNAKEFOLD_QUEUE_URL", "SNAKEFOLD_QUEUE"
_STREAM = "snakefold:jobs"
_GROUP = "workers"
#: Seconds: how long to wait for a job at a time, for a server that is away, for a job when told to end.
_BLOCK, _LONGEST_PAUSE, _GRACE = 2.0, 30.0, 25.0
_KEPT = 24 * 3600
#: Entries that say what has ended.
_MOST_ENDED = 10_000
_LONGEST_ID = 200


@dataclass(frozen=True)
class QueueSettings:
    """Which queue, and how patient a worker is.

    Attributes:
        url: of the server; may hold a password, and is never shown.
        tries: deliveries of a job.
        patience: seconds of silence after which a worker is taken to be dead, and its job is another's.
        kept: seconds that results stay.
        grace: seconds that a job has when its worker is told to end; then it goes back to the queue.
    """

    url: str = field(repr=False)
    stream: str = _STREAM
    tries: int = 3
    patience: float = 60.0
    kept: int = _KEPT
    grace: float = _GRACE

    def named(self, what: str) -> str:
        """A key beside the stream."""
        return f"{self.stream}:{what}"


def read_queue_settings(
    tries: int = 3, patience: float = 60.0, environment: Mapping[str, str] | None = None
) -> QueueSettings:
    """Settings of the environment.

    Raises:
        SnakefoldError: there is no address of a server.
    """
    given = os.environ if environment is None else environment
    url = given.get(URL, "")
    if not url.startswith(("redis://", "rediss://", "unix://")):
        found = "is not set" if not url else "is no address of Redis"
        raise SnakefoldError(
            f"{URL} {found}: expected redis://HOST:PORT/0, with its password if it has one. It is read from "
            "the environment, for a command line can be seen by others."
        )
    return QueueSettings(url, given.get(STREAM) or _STREAM, tries, patience)


@dataclass(frozen=True)
class Delivery:
    """A job as it came: `entry` of the stream, for the `number`-th time."""

    entry: str
    number: int
    text: str

    @property
    def digest(self) -> str:
        """Of what was asked for: a job that is sent twice is done once."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Consumer:
    """A worker of the group; `server`: a client of redis.asyncio, `answer` does a job, as `jobs.answer`."""

    def __init__(self, server: Any, settings: QueueSettings, answer: Answer, log: Log = print) -> None:
        self._server, self._settings, self._answer, self._log = server, settings, answer, log
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """Take no more jobs; the one at work has `grace` seconds."""
        self._leaving.set()

    async def run(self) -> None:
        """Do jobs until told to leave. A server that is away is waited for."""
        pause, prepared = 1.0, False
        while not self._leaving.is_set():
            try:
                if not prepared:
                    await self._make_group()
                    prepared = True
                delivery = await self._next()
                if delivery is not None:
                    await self._do(delivery)
                pause = 1.0
            except _trouble() as error:
                self._log(f"queue: {without_secrets(str(error))}; looked again in {pause:.0f} s")
                await self._wait(pause)
                pause, prepared = min(2 * pause, _LONGEST_PAUSE), False

    async def _make_group(self) -> None:
        from redis.exceptions import ResponseError

        try:
            await self._server.xgroup_create(self._settings.stream, _GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _next(self) -> Delivery | None:
        """A job that a silent worker had, or else a new one."""
        settings = self._settings
        idle = int(settings.patience * 1000)
        _, left, *_ = await self._server.xautoclaim(
            settings.stream, _GROUP, self._name, min_idle_time=idle, start_id="0-0", count=1
        )
        if not left:
            found = await self._server.xreadgroup(
                _GROUP, self._name, {settings.stream: ">"}, count=1, block=int(_BLOCK * 1000)
            )
            left = found[0][1] if found else []
        if not left:
            return None
        entry, fields = left[0]
        times = await self._server.xpending_range(settings.stream, _GROUP, min=entry, max=entry, count=1)
        number = int(times[0]["times_delivered"]) if times else 1
        return Delivery(entry, number, (fields or {}).get("job", ""))

    async def _do(self, delivery: Delivery) -> None:
        """One delivery, to an end that the queue knows."""
        try:
            name, given = _read(delivery.text)
        except ValueError as error:
            await self._set_aside(delivery, None, JobError(Reason.INVALID_INPUT, str(error)))
            return
        known = await self._known(name, delivery)
        if known == "done":
            self._log(f"{name}: came again, and is done")
            await self._server.xack(self._settings.stream, _GROUP, delivery.entry)
            await self._server.xdel(self._settings.stream, delivery.entry)
            return
        if known == "another":
            why = "Another job with this id is done. Give each job an id of its own."
            await self._set_aside(delivery, None, JobError(Reason.INVALID_INPUT, why))
            return
        if delivery.number > self._settings.tries:
            # Only a worker that ended without a word comes here, and perhaps said why the time before.
            said = await self._server.hget(self._settings.named("reasons"), delivery.entry)
            why = f"Tried {self._settings.tries} times; the last worker ended without a word. {said or ''}"
            await self._set_aside(delivery, name, JobError(Reason.LOST, why.strip()))
            return
        self._log(f"{name}: try {delivery.number} of {self._settings.tries}")
        answer = await self._at_work(name, given, delivery)
        if answer is None:
            return
        failed = _error_of(answer)
        if failed is None:
            await self._end(delivery, name, "done", answer)
        elif failed.reason is Reason.INVALID_INPUT:
            await self._end(delivery, name, "failed", answer)
        elif delivery.number < self._settings.tries:
            # It stays with this worker's name on it, until it has been silent for long enough.
            self._log(f"{name}: {failed}")
            await self._server.hset(self._settings.named("reasons"), delivery.entry, str(failed)[:2000])
        else:
            await self._set_aside(delivery, name, failed, answer)

    async def _known(self, name: str, delivery: Delivery) -> str:
        text = await self._server.get(self._settings.named(f"result:{name}"))
        if text is None:
            return ""
        return "done" if json.loads(text)["digest"] == delivery.digest else "another"

    async def _at_work(self, name: str, given: object, delivery: Delivery) -> dict[str, Any] | None:
        """The answer; None if there is none, and the queue knows."""
        settings, loop = self._settings, asyncio.get_running_loop()

        def progress(done: int, total: int) -> None:
            said = json.dumps({"done": done, "of": total})
            key = settings.named(f"progress:{name}")
            asyncio.run_coroutine_threadsafe(
                self._quietly(self._server.set(key, said, ex=settings.kept)), loop
            )

        work = asyncio.ensure_future(self._answer(given, progress=progress))
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            told_to_leave = 0.0
            while True:
                if await self._quietly(self._is_taken(delivery)):
                    self._log(f"{name}: another worker has it by now")
                    return None
                if await self._quietly(self._server.exists(settings.named(f"cancel:{name}"))):
                    await self._end(delivery, name, "cancelled", {"status": "cancelled"})
                    return None
                wait = settings.patience / 4
                if told_to_leave:
                    wait = min(wait, max(0.0, told_to_leave + settings.grace - loop.time()))
                watched = {work} if told_to_leave else {work, leaving}
                await asyncio.wait(watched, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    return work.result()
                if leaving.done() and not told_to_leave:
                    told_to_leave = loop.time()
                if told_to_leave and loop.time() >= told_to_leave + settings.grace:
                    await self._give_back(delivery)
                    self._log(f"{name}: given back, for this worker ends")
                    return None
        finally:
            leaving.cancel()
            work.cancel()
            # It ends its process, and all that that started.
            await asyncio.wait({work})

    async def _is_taken(self, delivery: Delivery) -> bool:
        """Say that the worker lives; whether it was taken to be dead before."""
        stream, entry = self._settings.stream, delivery.entry
        found = await self._server.xpending_range(stream, _GROUP, min=entry, max=entry, count=1)
        if not found or found[0]["consumer"] != self._name:
            return True
        await self._server.xclaim(stream, _GROUP, self._name, 0, [entry], justid=True)
        return False

    async def _give_back(self, delivery: Delivery) -> None:
        """Let the next worker take it at once. It was no failure of the job, and counts as none."""
        await self._quietly(
            self._server.xclaim(
                self._settings.stream,
                _GROUP,
                self._name,
                min_idle_time=0,
                message_ids=[delivery.entry],
                idle=int(self._settings.patience * 1000),
                retrycount=delivery.number - 1,
            )
        )

    async def _quietly(self, asked: Awaitable[Any]) -> Any:
        """A server that is away for a moment costs no job."""
        try:
            return await asked
        except _trouble() as error:
            self._log(f"queue: {without_secrets(str(error))}")
            return None

    async def _set_aside(
        self, delivery: Delivery, name: str | None, error: JobError, answer: dict[str, Any] | None = None
    ) -> None:
        why = without_secrets(f"{error.reason}: {error.message}")
        self._log(f"{name or delivery.entry}: set aside: {why}")
        entry = {"job": delivery.text, "entry": delivery.entry, "reason": why, "tries": str(delivery.number)}
        await self._end(delivery, name, "dead", answer or failure(error), dead=entry)

    async def _end(
        self,
        delivery: Delivery,
        name: str | None,
        state: str,
        answer: dict[str, Any],
        dead: Mapping[str, str] | None = None,
    ) -> None:
        """Result, news and the end of the entry at once: whoever dies before has done nothing.

        The server may be away meanwhile. The result is worth waiting for.
        """
        settings, pause = self._settings, 1.0
        text = json.dumps({"id": name, "state": state, "digest": delivery.digest, "output": answer})
        while True:
            try:
                async with self._server.pipeline(transaction=True) as all_of_it:
                    if name is not None:
                        all_of_it.set(settings.named(f"result:{name}"), text, ex=settings.kept)
                        all_of_it.delete(settings.named(f"progress:{name}"), settings.named(f"cancel:{name}"))
                    news = {"id": name or "", "state": state, "entry": delivery.entry}
                    all_of_it.xadd(settings.named("ended"), news, maxlen=_MOST_ENDED, approximate=True)
                    if dead is not None:
                        all_of_it.xadd(settings.named("dead"), dict(dead))
                    all_of_it.hdel(settings.named("reasons"), delivery.entry)
                    all_of_it.xack(settings.stream, _GROUP, delivery.entry)
                    all_of_it.xdel(settings.stream, delivery.entry)
                    await all_of_it.execute()
                break
            except _trouble() as error:
                self._log(f"queue: {without_secrets(str(error))}; the result waits {pause:.0f} s")
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        self._log(f"{name or delivery.entry}: {state}")

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), seconds)


def consume(settings: QueueSettings, answer: Answer, log: Log = print) -> None:
    """Do jobs of a queue until a signal says to end.

    Raises:
        MissingProgramError: the package redis is not installed.
    """
    try:
        from redis.asyncio import Redis
    except ImportError as error:
        raise MissingProgramError(
            "The queue needs the package redis. Install it with: pip install 'snakefold[service]'"
        ) from error

    async def run() -> None:
        server = Redis.from_url(settings.url, decode_responses=True, health_check_interval=15)
        consumer = Consumer(server, settings, answer, log)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, consumer.leave)
        try:
            await consumer.run()
        finally:
            await server.aclose()

    asyncio.run(run())


def _read(text: str) -> tuple[str, object]:
    """Id and input of a job. Raises ValueError: it is none."""
    if len(text) > LARGEST_ANSWER:
        raise ValueError(f"a job of {len(text):,} bytes; at most {LARGEST_ANSWER:,} are taken.")
    try:
        job = json.loads(text)
    except ValueError as error:
        raise ValueError(f"the field `job` is no JSON ({error}).") from error
    if not isinstance(job, dict) or not {"id", "input"} <= set(job):
        raise ValueError('expected {"id": …, "input": {…}} in the field `job`.')
    name = job["id"]
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= _LONGEST_ID:
        raise ValueError(f"id: expected 1 to {_LONGEST_ID} printable characters.")
    return name, job["input"]


def _error_of(answer: Mapping[str, Any]) -> JobError | None:
    if "error" not in answer:
        return None
    told = json.loads(answer["error"])
    return JobError(Reason(told["reason"]), str(told["message"]))


def _trouble() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return RedisError, OSError
