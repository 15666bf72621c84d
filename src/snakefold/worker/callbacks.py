"""Callbacks: what became of an item is told to an address that the job names, with the worker's secret.

A receiver knows a worker by `Authorization: Bearer …`, and an item by its idempotency key, which is the same
for every try, also of a job that runs twice. A callback that does not arrive is in the job's answer and fails
nothing.

Addresses are called under the rules of `worker.fetch`: https, no private network, no redirects. The operator
may list hosts (SNAKEFOLD_CALLBACK_HOSTS); then the secret is sent to these only, which may be private.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from snakefold.kernel.envelope import FailedCallback
from snakefold.kernel.errors import SnakefoldError
from snakefold.worker.endpoints.checked import InvalidInput
from snakefold.worker.failures import without_secrets
from snakefold.worker.fetch import Network, Refused, call, checked_address, shown

SECRET, HOSTS = "SNAKEFOLD_CALLBACK_SECRET", "SNAKEFOLD_CALLBACK_HOSTS"
#: The name that older senders know the secret by.
OLDER_SECRET = "GPU_CALLBACK_SECRET"  # noqa: S105 (a name)
#: Seconds of a try, and before the second and the third.
TIMEOUT = 10.0
PAUSES = (1.0, 5.0)
_LARGEST_ANSWER = 1 << 20
_LONGEST_ERROR = 2000
#: Callbacks in a row that failed in spite of several tries, before others are sent once, and not at all: each
#: may cost half a minute of a paid worker, and a job may have a thousand.
_ONCE, _NEVER = 3, 10
_THREADS = 4

Status = Literal["done", "failed"]


@dataclass(frozen=True)
class CallbackSettings:
    """Secret, and hosts: `host`, `host:port`, for plain http `http://host:port`. Empty: all public ones."""

    secret: str | None = field(default=None, repr=False)
    hosts: frozenset[str] = frozenset()


def read_callback_settings(given: Mapping[str, str]) -> CallbackSettings:
    """Settings of the environment.

    Raises:
        SnakefoldError: the secret cannot be sent in a header; it is not in the text.
    """
    secret = given.get(SECRET) or given.get(OLDER_SECRET) or None
    if secret is not None and not (secret.isascii() and secret.isprintable() and " " not in secret):
        raise SnakefoldError(f"{SECRET}: expected printable ASCII characters without spaces.")
    hosts = (host.strip().lower().removeprefix("https://") for host in given.get(HOSTS, "").split(","))
    return CallbackSettings(secret, frozenset(host.rstrip("/") for host in hosts if host))


def idempotency_key(prefix: str, item: int | str) -> str:
    """The key of an item, or of a job (`job`)."""
    return f"{prefix}:{item}"


@dataclass
class Callbacks:
    """What one job tells. For several threads.

    Attributes:
        url: is told of items; None: nobody is.
        job_url: is told of the end of the job.
        prefix: of the idempotency keys.
        failures: callbacks that did not arrive.
        log: takes a line about each of these.
    """

    settings: CallbackSettings
    network: Network
    url: str | None = field(repr=False)
    job_url: str | None = field(repr=False)
    prefix: str
    log: Callable[[str], None] = print
    pauses: Sequence[float] = PAUSES
    timeout: float = TIMEOUT
    failures: list[FailedCallback] = field(default_factory=list)
    _failed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """See, before anything is computed, that the addresses may be called.

        Raises:
            InvalidInput: names the key of the request.
        """
        for name, url in (("callback_url", self.url), ("job_callback_url", self.job_url)):
            if url is None:
                continue
            if self.settings.secret is None:
                raise InvalidInput(
                    f"{name}: this worker has no secret that a receiver could know it by. Set {SECRET} in "
                    "its environment, or leave the key out."
                )
            try:
                _allowed(url, self.settings)
                checked_address(url, _network(self.network, self.settings).trusted)
            except Refused as error:
                raise InvalidInput(f"{name}: {error}") from error

    @property
    def wanted(self) -> bool:
        """Whether items are told of."""
        return self.url is not None

    def item(self, idx: int, status: Status, **more: Any) -> bool:
        """Tell of an item; whether that arrived, or nobody wants to know.

        Args:
            more: further keys, such as output_key, preview_key and error. What is None is left out.
        """
        body = {"idx": idx, "status": status, **more}
        return self._tell(self.url, body, idempotency_key(self.prefix, idx))

    def job(self, status: Status, **more: Any) -> bool:
        """Tell of the end of the job."""
        return self._tell(self.job_url, {"status": status, **more}, idempotency_key(self.prefix, "job"))

    def _tell(self, url: str | None, body: Mapping[str, Any], key: str) -> bool:
        if url is None:
            return True
        content = {name: value for name, value in body.items() if value is not None}
        if isinstance(error := content.get("error"), str):
            content["error"] = without_secrets(error)[:_LONGEST_ERROR]
        with self._lock:
            before = self._failed
        if before >= _NEVER:
            failed: FailedCallback | None = FailedCallback(
                idempotency_key=key, problem=f"{shown(url)}: not sent: {before} callbacks before it failed"
            )
        else:
            pauses = self.pauses if before < _ONCE else ()
            failed = self._send(url, {**content, "idempotency_key": key}, key, pauses)
            with self._lock:
                self._failed = 0 if failed is None else self._failed + _may_pass(failed.status)
        if failed is None:
            return True
        with self._lock:
            self.failures.append(failed)
        self.log(f"callback {key}: {failed.problem}")
        return False

    def _send(
        self, url: str, body: Mapping[str, Any], key: str, pauses: Sequence[float]
    ) -> FailedCallback | None:
        """A try, and one after each pause; None if it arrived."""
        status, problem, number = 0, "", 0
        for number in range(1, len(pauses) + 2):
            if number > 1:
                time.sleep(pauses[number - 2])
            try:
                status = self._call(url, body, key)
            except Refused as error:
                status, problem = 0, str(error).removesuffix(".")
                # A name that is not found now may be found a moment later.
                if isinstance(error.__cause__, OSError):
                    continue
                break
            except (OSError, http.client.HTTPException) as error:
                status, problem = 0, f"{shown(url)}: no answer ({type(error).__name__})"
                continue
            if http.client.OK <= status < http.client.MULTIPLE_CHOICES:
                return None
            problem = f"{shown(url)}: {_meaning(status)}"
            if not _may_pass(status):
                break
        return FailedCallback(idempotency_key=key, problem=problem, status=status, tries=number)

    def _call(self, url: str, body: Mapping[str, Any], key: str) -> int:
        headers = {
            "Authorization": f"Bearer {self.settings.secret}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            "User-Agent": "snakefold",
        }
        return call(
            "POST",
            url,
            limit=_LARGEST_ANSWER,
            deadline=time.monotonic() + self.timeout,
            network=_network(self.network, self.settings),
            body=json.dumps(body).encode(),
            headers=headers,
        ).status


def in_threads(tell: Callable[[int], object], count: int) -> None:
    """Tell of items 0 to `count` - 1, a few at a time."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="callback") as pool:
        for done in [pool.submit(tell, number) for number in range(count)]:
            done.result()


def _allowed(url: str, settings: CallbackSettings) -> None:
    """See that the operator's list, if there is one, has the host."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise Refused("An address cannot be read.") from error
    before = "http://" if parts.scheme == "http" else ""
    if settings.hosts and not {f"{before}{host}", f"{before}{host}:{port}"} & settings.hosts:
        raise Refused(f"{shown(url)}: is none of the hosts that the worker's operator lists in {HOSTS}.")


def _network(network: Network, settings: CallbackSettings) -> Network:
    """Hosts that are trusted with files are not therefore trusted with the secret."""
    return replace(network, trusted=frozenset(host.removeprefix("http://") for host in settings.hosts))


def _may_pass(status: int) -> bool:
    """Whether the same callback may arrive a little later; 0: there was no answer."""
    return status in (0, http.client.TOO_MANY_REQUESTS) or status >= http.client.INTERNAL_SERVER_ERROR


def _meaning(status: int) -> str:
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        return f"answered with status {status}: it does not accept the secret ({SECRET} of the worker)"
    if http.client.MULTIPLE_CHOICES <= status < http.client.BAD_REQUEST:
        return f"answered with status {status}: redirects are not followed"
    return f"answered with status {status}"
