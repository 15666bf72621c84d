"""Webhooks: the end of a job is told to the address that was submitted with it.

That somebody waits for a call is marked before the job is taken, and the mark stays until it is written down
what came of the call. Who finds the mark of a job that has ended calls, unless another process is at it: a
call whose process died is made again, with the same Idempotency-Key.

Addresses are called under the worker's rules: https, and none that leads to a private network. What is known
of that without looking a name up is checked when the job is submitted. A failure does not fail the job.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.service import files, records
from snakefold.service.records import Record
from snakefold.worker.fetch import Network, Refused, call, checked_address, shown
from snakefold.worker.settings import read_settings

log = logging.getLogger(__name__)
#: As RunPod: three tries, ten seconds apart.
TRIES, PAUSE = 3, 10.0
_TIMEOUT = 10.0
_LARGEST_ANSWER = 1 << 20
TOLD = "webhook.json"
#: Marks, beside the records; and in a record, what whoever calls holds.
_MARKS, _HELD = ".webhooks", ".webhook.lock"
#: Seconds after which a mark without a record is nobody's who is still submitting.
_ORPHAN = 24 * 3600.0


def callable_address(url: str) -> str:
    """The address of a webhook.

    Raises:
        ValueError: it would never be called.
    """
    try:
        checked_address(url, read_settings().transfer_hosts)
    except Refused as error:
        raise ValueError(str(error).removesuffix(".")) from error
    return url


def expect(root: Path, job: str) -> None:
    """Mark that the end of a job is to be told. The job may not be there yet."""
    folder = root / _MARKS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / job).touch()


def forget(root: Path, job: str) -> None:
    """Remove the mark of a job."""
    (root / _MARKS / job).unlink(missing_ok=True)


def tell(record: Record) -> None:
    """Tell the end of a job, if somebody wants to know. Does not wait for it."""
    if record.facts.get("webhook"):
        with _lock:
            if record.folder in _at_work:
                return
            _at_work.add(record.folder)
        _threads().submit(_told, record)


def tell_again(root: Path) -> int:
    """Tell the ends of jobs that nobody has told, for whoever ended them died; how many are begun.

    Args:
        root: folder of the jobs.
    """
    try:
        names = [each.name for each in (root / _MARKS).iterdir()]
    except FileNotFoundError:
        return 0
    found = 0
    for name in names:
        if not records.has_ended(root / name):
            with suppress(FileNotFoundError):
                old = time.time() - (root / _MARKS / name).stat().st_mtime > _ORPHAN
                if old and records.find(root, name) is None:
                    forget(root, name)
            continue
        record = records.find(root, name)
        if record is None or _is_told(record):
            forget(root, name)
        else:
            tell(record)
            found += 1
    return found


def _is_told(record: Record) -> bool:
    """Whether it is written down what came of telling this end: a job that is retried has another."""
    try:
        said = json.loads((record.folder / TOLD).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(said.get("ended") == record.ended)


def deliver(record: Record, network: Network, pause: float = PAUSE) -> dict[str, object]:
    """POST what /status says of a job, three times at most; what came of it, which its record keeps.

    An answer with status 200 is the end of it. All calls for one end of a job have one Idempotency-Key.
    """
    from snakefold.service import runpod

    url = str(record.facts["webhook"])
    secret = files.secret_of(record.folder.parent.parent)
    body = runpod.with_output(record, str(record.facts["base"]), secret)
    key = f"{record.id}-{round((record.ended or 0) * 1000)}"
    status, problem, tries = 0, "", 0
    for tries in range(1, TRIES + 1):
        if tries > 1:
            time.sleep(pause)
        try:
            answer = call(
                "POST",
                url,
                limit=_LARGEST_ANSWER,
                deadline=time.monotonic() + _TIMEOUT,
                network=network,
                body=body,
                headers={"Content-Type": "application/json", "Idempotency-Key": key},
            )
        except Refused as error:
            status, problem = 0, str(error)
            break
        except (OSError, http.client.HTTPException) as error:
            status, problem = 0, f"{shown(url)}: {type(error).__name__}"
            continue
        status, problem = answer.status, ""
        if status == http.client.OK:
            break
    said: dict[str, object] = {"delivered": status == http.client.OK, "status": status, "tries": tries}
    if problem:
        said["problem"] = problem
    write_atomically(record.folder / TOLD, json.dumps({**said, "ended": record.ended}).encode())
    forget(record.folder.parent, record.id)
    return said


def _told(record: Record) -> None:
    try:
        with (record.folder / _HELD).open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is let go when this process dies
            if not _is_told(record):
                said = deliver(record, Network(trusted=read_settings().transfer_hosts))
                log.info("webhook", extra={"record": record.id, **said})
    except BlockingIOError:  # another process is at it
        pass
    except (SnakefoldError, OSError, RuntimeError):
        # Not every few seconds: the receiver may have been called. The next start tries again.
        log.exception("a webhook could not be called", extra={"record": record.id})
        return
    with _lock:
        _at_work.discard(record.folder)


#: Jobs whose ends this process tells.
_at_work: set[Path] = set()
_lock = threading.Lock()


@cache
def _threads() -> ThreadPoolExecutor:
    """A few of them: receivers that do not answer keep nobody from work."""
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="webhook")
