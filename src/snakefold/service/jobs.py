"""Jobs: an `input` of the worker's contracts, and its answer, in files of a record."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.service import files, records, webhooks
from snakefold.service.desk import Desk
from snakefold.service.kinds import KINDS, Duty, Ending, ended
from snakefold.service.plain import plain_of
from snakefold.service.records import Record, State
from snakefold.service.users import User
from snakefold.worker import jobs
from snakefold.worker.endpoints import InvalidInput, read_input
from snakefold.worker.settings import read_settings

log = logging.getLogger(__name__)
INPUT, OUTPUT, FAILURE, PROGRESS = "input.json", "output.json", "failure.json", "progress.json"
_OUTPUTS = {State.DONE: OUTPUT, State.FAILED: FAILURE}
_PROGRESS_SECONDS = 1.0
_FIRST_POLL, _LAST_POLL = 0.02, 0.5
#: How long a request may wait for its job; its result is then asked for again.
_LONGEST = 24 * 3600.0
_FAILURES = {State.FAILED: 500, State.CANCELLED: 409, State.TIMED_OUT: 504}
#: Reasons of a failed job that are the request's fault.
_REFUSED = {"invalid_input", "database_missing"}


def accept(
    desk: Desk,
    user: User,
    given: Any,
    *,
    name: str = "",
    facts: dict[str, Any] | None = None,
    behind: int = 0,
) -> Record:
    """Take a job.

    Raises:
        HTTPException: 400, the input is no request of any contract, or names a path; see also `Desk.submit`.
    """
    try:
        request = read_input(given)
    except InvalidInput as error:
        raise HTTPException(400, str(error)) from error
    if place := next(_paths(given), ""):
        raise HTTPException(
            400,
            f"{place}: this service has no network volume or bucket that a request may name files of. Send "
            "the bytes (`base64`) or an address (`url`); a large result comes back as an address.",
        )
    residues = _residues(request, user)
    name = name or records.new_id()
    root, is_told = desk.settings.folder / KINDS["job"].folder, bool((facts or {}).get("webhook"))
    if is_told:
        webhooks.expect(root, name)
    try:
        return desk.submit(
            "job",
            user,
            files={INPUT: json.dumps(given).encode()},
            facts=facts,
            name=name,
            behind=behind,
            residues=residues,
        )
    except HTTPException:
        if is_told:
            webhooks.forget(root, name)
        raise


def _residues(request: BaseModel, user: User) -> int:
    """What a job spends of the user's quota; of users without one nothing is counted.

    Raises:
        HTTPException: 400, that cannot be told: a worker would refuse the job, or fetches its targets.
    """
    if user.quota.residues_per_day is None:
        return 0
    from snakefold.worker.residues import residues_of

    try:
        return residues_of(request)
    except SnakefoldError as error:
        raise HTTPException(
            400, f"{error} (Your residues a day are limited, so they are counted.)"
        ) from error


def output_of(record: Record, base: str, secret: bytes) -> bytes | None:
    """What a job gave, or how far it is, as JSON; None for nothing yet.

    Args:
        base: address of this service, which those of its files begin with.
    """
    try:
        text = (record.folder / _OUTPUTS.get(record.state, PROGRESS)).read_bytes()
    except FileNotFoundError:
        return None
    return files.with_addresses(text, record.id, list(record.ending.get("files", ())), base, secret)


def base_of(request: Request) -> str:
    """The address of this service, as the client calls it."""
    return str(request.base_url).rstrip("/")


async def wait_for(folder: Path, seconds: float) -> Record:
    """The record of a folder once it has ended, or as it is after so many seconds."""
    until = time.monotonic() + seconds
    delay = _FIRST_POLL
    while not records.has_ended(folder) and (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(delay, left))
        delay = min(delay * 1.3, _LAST_POLL)
    return await run_in_threadpool(records.read, folder)


async def answer(
    request: Request, desk: Desk, user: User, given: Any, *, facts: Mapping[str, Any], behind: int = 0
) -> tuple[Record, Any]:
    """Have a job done while the client waits: its record, and its output.

    If the client leaves, the job is cancelled.

    Raises:
        HTTPException: the job failed; see also `accept`.
    """
    record = await run_in_threadpool(accept, desk, user, given, facts=dict(facts), behind=behind)
    waited = 0.0
    while not record.state.final and waited < _LONGEST:
        record = await wait_for(record.folder, 5.0)
        waited += 5.0
        if not record.state.final and await request.is_disconnected():
            await run_in_threadpool(stop, record)
            raise HTTPException(499, "The client has left.")
    return record, await run_in_threadpool(done, record, base_of(request), desk)


def done(record: Record, base: str, desk: Desk) -> Any:
    """The output of a job that is done.

    Raises:
        HTTPException: it is not; the text says why.
    """
    if record.state is not State.DONE:
        reason, message = _failure(record.error)
        code = 400 if reason in _REFUSED else _FAILURES.get(record.state, 504)
        raise HTTPException(code, message or f"The job is {record.state}.")
    return json.loads(output_of(record, base, files.secret_of(desk.settings.folder)) or b"null")


def stop(record: Record) -> State:
    """Cancel a job, unless it has ended; its state."""
    if records.end(record.folder, State.CANCELLED):
        ended(record.folder)
    return records.read(record.folder).state


def perform(record: Record, duty: Duty) -> Ending:
    """Do a job in the warm process of this worker.

    A job that a dead worker had begun is done again: targets that it finished are in the store.
    """
    given = json.loads((record.folder / INPUT).read_bytes())
    limit = record.facts.get("execution_timeout")
    facts = _size(given)
    started = time.monotonic()
    try:
        answer = asyncio.run(_answer(given, record.folder, duty, limit))
    except TimeoutError:
        return Ending(State.TIMED_OUT, error=f"The job was stopped after {limit:g} seconds.", facts=facts)
    facts["seconds"] = round(time.monotonic() - started, 3)
    if answer is None:
        return Ending(State.CANCELLED, facts=facts)
    plain = plain_of(duty.settings)
    if "error" in answer:
        told = {key: value for key, value in answer.items() if key not in ("error", "refresh_worker")}
        _write(record.folder / FAILURE, plain.of(told))
        return Ending(State.FAILED, error=str(answer["error"]), facts=facts)
    volume = read_settings().volume
    if volume is not None:
        facts["files"] = files.keep(answer, record.folder, volume)
    _write(record.folder / OUTPUT, plain.of(answer))
    return Ending(State.DONE, facts=facts)


def _size(given: Any) -> dict[str, Any]:
    """What /metrics count of a job; nothing of what predicts nothing, or is behind an address."""
    from snakefold.worker.residues import residues_of

    with suppress(SnakefoldError):
        if residues := residues_of(read_input(given)):
            return {"residues": residues}
    return {}


def _write(path: Path, content: Any) -> None:
    # ASCII, so that it is JSON in UTF-8 whatever surrogates it has.
    write_atomically(path, json.dumps(content).encode())


def _failure(error: str) -> tuple[str, str]:
    """Reason and message of a failed job; its error is JSON for those that read the reason by its name."""
    try:
        said = json.loads(error)
    except ValueError:
        return "", error
    if not isinstance(said, dict):
        return "", error
    return str(said.get("reason", "")), str(said.get("message", error))


def _paths(given: Mapping[str, Any]) -> Iterator[str]:
    """Where a request names a file of a network volume or an object of a bucket, which all users share."""
    for key in ("files", "results"):
        found = given.get(key)
        parts: dict[Any, Any] = {"": found}
        if isinstance(found, list):
            parts = dict(enumerate(found))
        elif isinstance(found, dict) and not {"inline", "url", "path", "key"} & found.keys():
            parts = found
        for name, part in parts.items():
            for place in ("path", "key"):
                if isinstance(part, dict) and part.get(place) is not None:
                    yield ".".join(filter(None, (key, str(name), place)))


async def _answer(given: Any, folder: Path, duty: Duty, limit: float | None) -> dict[str, Any] | None:
    """The worker's answer; None if the work was to stop."""
    told = float("-inf")

    def progress(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            content = {"progress": {"done": done, "of": total}}
            write_atomically(folder / PROGRESS, json.dumps(content).encode())

    def say(line: str) -> None:
        # By another thread, whose context does not know the record.
        if line.strip():
            log.info("%s", line, extra={"record": folder.name})

    async with asyncio.timeout(limit):
        work = asyncio.ensure_future(jobs.answer(given, progress=progress, say=say))
        while not work.done():
            await asyncio.wait([work], timeout=0.2)
            if duty.stop.is_set() and not work.done():
                work.cancel()
                await asyncio.wait([work])
                return None
        return work.result()
