"""A service with one more kind of work, which counts how often it is done; also what its workers run.

python -m tests.service.counting SETTINGS.yaml          serves, with POST /counts to submit
python -m tests.service.counting KIND SLOT LIFE         is a worker, as `snakefold.service.work`
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel

from snakefold.service import app, server, work
from snakefold.service.desk import TheDesk, TheUser
from snakefold.service.jobs import INPUT, OUTPUT
from snakefold.service.kinds import KINDS, Duty, Ending, Kind
from snakefold.service.records import Record, State
from snakefold.service.settings import read_settings

# The setting of searches says how many count; nothing is searched.
KINDS.update(
    {name: replace(kind, workers="runs") for name, kind in KINDS.items() if kind.workers == "searches"}
)
KINDS["count"] = Kind("counts", f"{__spec__.name if __spec__ else __name__}:perform", "searches")
#: Jobs are answered at once, where there is a worker for them: what they compute is tested elsewhere.
KINDS["job"] = replace(KINDS["job"], does=f"{__spec__.name if __spec__ else __name__}:answer")
_SECONDS = float(os.environ.get("SECONDS_OF_JOBS", "0"))


class Wanted(BaseModel):
    """How long it is to take, and which name the submission has in the test."""

    seconds: float = 0
    name: str = ""


def perform(record: Record, duty: Duty) -> Ending:
    """Leave a line where it begins and where it ends."""
    if _is_stored(record):
        return Ending(State.DONE)
    _line(record.folder / "begun.txt")
    until = time.monotonic() + float(record.facts.get("seconds", 0))
    while not duty.stop.is_set() and time.monotonic() < until:
        time.sleep(0.01)
    if duty.stop.is_set():
        return Ending(State.CANCELLED)
    _line(record.folder / "done.txt")
    return Ending(State.DONE, facts={"seconds": record.facts.get("seconds")})


def answer(record: Record, duty: Duty) -> Ending:
    """Answer a job with what was asked."""
    if _is_stored(record):
        return Ending(State.DONE)
    _line(record.folder / "begun.txt")
    asked = json.loads((record.folder / INPUT).read_bytes())
    (record.folder / OUTPUT).write_text(json.dumps({"asked": asked}))
    time.sleep(_SECONDS)
    if "batch" in asked or record.facts.get("endpoint") in ("openfold", "nim"):
        return Ending(State.CANCELLED)  # its route would look for results
    _line(record.folder / "done.txt")
    return Ending(State.DONE)


def _is_stored(record: Record) -> bool:
    """Whether the work is finished. A worker may be killed before it says so: the store has what it did.

    Two workers at once would still be two lines.
    """
    return (record.folder / "done.txt").exists()


def _line(path: Path) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"{os.getpid()}\n")


router = APIRouter()


@router.post("/counts")
def submit(wanted: Wanted, desk: TheDesk, user: TheUser) -> dict[str, str]:
    """Accept one."""
    return {"id": desk.submit("count", user, files={}, facts=wanted.model_dump()).id}


@router.get("/counts/{name}")
async def status(name: str, desk: TheDesk, user: TheUser) -> dict[str, str]:
    """How it stands."""
    return {"status": desk.find("count", name, user).state.value}


def _serve(path: str) -> None:
    def with_counts(settings: app.ServiceSettings) -> app.Guard:
        made: app.Guard = app.create_app(settings)
        made.fastapi.include_router(router)  # type: ignore[attr-defined]
        return made

    server.create_app = with_counts  # type: ignore[attr-defined]
    server.serve(read_settings(Path(path), {}), worker="tests.service.counting")


if __name__ == "__main__":
    # Workers look the function up by name: this file must not be there twice, as __main__ and as itself.
    sys.modules.setdefault("tests.service.counting", sys.modules["__main__"])
    if len(sys.argv) == 2:
        _serve(sys.argv[1])
    else:
        signal.signal(signal.SIGTERM, work._leave)
        sys.exit(work.main(sys.argv[1:]))
