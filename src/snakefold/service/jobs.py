"""Jobs: an `input` of the worker's contracts, and its answer, in files of a record."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from snakefold.kernel.store import write_atomically
from snakefold.service import records
from snakefold.service.desk import Desk
from snakefold.service.kinds import Duty, Ending
from snakefold.service.records import Record, State
from snakefold.service.users import User
from snakefold.worker import jobs
from snakefold.worker.endpoints import InvalidInput, read_input

INPUT, OUTPUT, PROGRESS = "input.json", "output.json", "progress.json"
_PROGRESS_SECONDS = 1.0
_FIRST_POLL, _LAST_POLL = 0.02, 0.5


def accept(
    desk: Desk, user: User, given: Any, *, name: str = "", facts: dict[str, Any] | None = None
) -> Record:
    """Take a job.

    Raises:
        HTTPException: 400, the input is no request of any contract; see also `Desk.submit`.
    """
    try:
        read_input(given)
    except InvalidInput as error:
        raise HTTPException(400, str(error)) from error
    return desk.submit("job", user, files={INPUT: json.dumps(given).encode()}, facts=facts, name=name)


def output_of(record: Record) -> Any:
    """What a job gave, or how far it is; None for nothing yet."""
    name = OUTPUT if record.state is State.DONE else PROGRESS
    try:
        return json.loads((record.folder / name).read_bytes())
    except FileNotFoundError:
        return None


async def wait_for(folder: Path, seconds: float) -> Record:
    """The record of a folder once it has ended, or as it is after so many seconds."""
    until = time.monotonic() + seconds
    delay = _FIRST_POLL
    while not records.has_ended(folder) and (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(delay, left))
        delay = min(delay * 1.3, _LAST_POLL)
    return records.read(folder)


def perform(record: Record, duty: Duty) -> Ending:
    """Do a job in the warm process of this worker.

    A job that a dead worker had begun is done again: targets that it finished are in the store.
    """
    given = json.loads((record.folder / INPUT).read_bytes())
    limit = record.facts.get("execution_timeout")
    started = time.monotonic()
    try:
        answer = asyncio.run(_answer(given, record.folder, duty, limit))
    except TimeoutError:
        return Ending(State.TIMED_OUT, error=f"The job was stopped after {limit:g} seconds.")
    seconds = {"seconds": round(time.monotonic() - started, 3)}
    if answer is None:
        return Ending(State.CANCELLED, facts=seconds)
    if "error" in answer:
        return Ending(State.FAILED, error=str(answer["error"]), facts=seconds)
    write_atomically(
        record.folder / OUTPUT, json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass")
    )
    return Ending(State.DONE, facts=seconds)


async def _answer(given: Any, folder: Path, duty: Duty, limit: float | None) -> dict[str, Any] | None:
    """The worker's answer; None if the work was to stop."""
    told = float("-inf")

    def progress(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            content = {"progress": {"done": done, "of": total}}
            write_atomically(folder / PROGRESS, json.dumps(content).encode())

    async with asyncio.timeout(limit):
        work = asyncio.ensure_future(jobs.answer(given, progress=progress))
        while not work.done():
            await asyncio.wait([work], timeout=0.2)
            if duty.stop.is_set() and not work.done():
                work.cancel()
                await asyncio.wait([work])
                return None
        return work.result()
