"""Webhooks: the end of a job is told to the address that was submitted with it.

Addresses are called under the worker's rules: https, and none that leads to a private network. What is known
of that without looking a name up is checked when the job is submitted. A failure does not fail the job.
"""

from __future__ import annotations

import http.client
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.service import files
from snakefold.service.records import Record
from snakefold.worker.fetch import Network, Refused, call, checked_address, shown
from snakefold.worker.settings import read_settings

log = logging.getLogger(__name__)
#: As RunPod: three tries, ten seconds apart.
TRIES, PAUSE = 3, 10.0
_TIMEOUT = 10.0
_LARGEST_ANSWER = 1 << 20
TOLD = "webhook.json"


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


def tell(record: Record) -> None:
    """Tell the end of a job, if somebody wants to know. Does not wait for it."""
    if record.facts.get("webhook"):
        _threads().submit(_told, record)


def deliver(record: Record, network: Network, pause: float = PAUSE) -> dict[str, object]:
    """POST what /status says of a job, three times at most; what came of it, which its record keeps.

    An answer with status 200 is the end of it.
    """
    from snakefold.service import runpod

    url = str(record.facts["webhook"])
    secret = files.secret_of(record.folder.parent.parent)
    body = runpod.with_output(record, str(record.facts["base"]), secret)
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
                headers={"Content-Type": "application/json"},
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
    write_atomically(record.folder / TOLD, json.dumps(said).encode())
    return said


def _told(record: Record) -> None:
    try:
        said = deliver(record, Network(trusted=read_settings().transfer_hosts))
    except (SnakefoldError, OSError, RuntimeError):
        log.exception("a webhook could not be called", extra={"record": record.id})
        return
    log.info("webhook", extra={"record": record.id, **said})


@cache
def _threads() -> ThreadPoolExecutor:
    """A few of them: receivers that do not answer keep nobody from work."""
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="webhook")
