"""The jobs API and the few calls of the management API that are needed, over aiohttp.

A call is made within the documented limits; what comes back is an object, or an error that says whether the
call may have had its effect. Redirects are not followed: the key goes to the configured address only.

aiohttp is imported when the first client is made: Snakemake imports the plugins of all executors whenever it
starts.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from .errors import AccessError, NotFoundError, RejectedError, SpentError, UnavailableError
from .limits import Backoff, Gate, documented

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
_MOST_BYTES = 32 * 2**20
_MOST_LOG = 2**20
_LOG_SECONDS = 5.0
#: Seconds for an answer, and of them for a connection.
_TIMEOUT, _CONNECT_TIMEOUT = 60, 10
#: Characters of what a refusal says.
_EXCERPT = 400
#: Header with which `snakefold serve` says that a 429 holds until tomorrow: the user's quota is spent.
_REFUSED = "X-Snakefold-Refused"


class Client:
    """One per run, inside one event loop. `timeout`: seconds for an answer."""

    def __init__(
        self,
        key: str,
        base_url: str,
        management_url: str = "",
        patience: float = 900.0,
        timeout: float | None = None,
    ) -> None:
        import aiohttp

        self._base = base_url
        self._management = management_url
        self._patience = patience
        self._gates: dict[str, dict[str, Gate]] = {}
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}", "User-Agent": "snakemake-executor-plugin-runpod"},
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT, sock_connect=_CONNECT_TIMEOUT)
            if timeout is None
            else aiohttp.ClientTimeout(total=timeout),
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=80, keepalive_timeout=30),
            # Not `trust_env`: it would look for a .netrc with every call.
            proxy=_proxy(base_url),
        )

    async def close(self) -> None:
        await self._session.close()

    # The jobs API

    async def run(self, endpoint: str, body: bytes) -> dict[str, Any]:
        """POST /run, once. The answer has the job's `id`.

        Raises:
            UnavailableError: with `taken` where the job may have been accepted.
        """
        answer = await self._call("POST", endpoint, "run", body=body)
        if not isinstance(answer.get("id"), str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", answer["id"]):
            raise UnavailableError("the answer to a submission has no job id", taken=True)
        return answer

    async def status(self, endpoint: str, job: str) -> dict[str, Any]:
        """GET /status, once."""
        return await self._call("GET", endpoint, "status", job)

    async def cancel(self, endpoint: str, job: str) -> dict[str, Any]:
        """POST /cancel, repeated until it is answered."""
        return await self.persist(lambda: self._call("POST", endpoint, "cancel", job))

    async def health(self, endpoint: str) -> dict[str, Any]:
        return await self._call("GET", endpoint, "health")

    # The management API

    async def endpoint(self, endpoint: str) -> dict[str, Any]:
        """GET /serverless/{id}: settings of an endpoint; `workers.max` among them."""
        return await self._manage(f"serverless/{endpoint}")

    async def workers(self, endpoint: str) -> list[dict[str, Any]]:
        """GET /serverless/{id}/workers."""
        workers = (await self._manage(f"serverless/{endpoint}/workers")).get("workers")
        return [worker for worker in workers if isinstance(worker, dict)] if isinstance(workers, list) else []

    async def worker_log(self, endpoint: str, worker: str) -> str:
        """The last lines of a worker's log, as far as they come within a few seconds; it is a stream."""
        if not self._management:
            raise UnavailableError("no management API is configured")
        url = f"{self._management}/serverless/{endpoint}/workers/{worker}/logs"
        import aiohttp

        text = b""
        try:
            async with (
                asyncio.timeout(_LOG_SECONDS),
                self._session.get(
                    url, params={"source": "container", "tail": "500"}, allow_redirects=False
                ) as answer,
            ):
                if answer.status != 200:
                    content = await _read(answer, "logs")
                    raise _problem(answer.status, content, f"GET {urlsplit(url).path}")
                async for part in answer.content.iter_any():
                    text += part
                    if len(text) > _MOST_LOG:
                        break
        except TimeoutError:
            pass  # the stream goes on; what has come is what there was
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"the log of worker {worker}: {error}") from error
        return text.decode("utf-8", "replace")

    # How

    async def persist(self, call: Callable[[], Awaitable[T]], most: float = float("inf")) -> T:
        """Repeat a call that may be repeated, until it is answered or patience (`most` seconds) is spent."""
        backoff = Backoff(min(most, self._patience))
        while True:
            try:
                return await call()
            except UnavailableError:
                if backoff.spent():
                    raise
                await backoff.wait()

    async def _manage(self, path: str) -> dict[str, Any]:
        if not self._management:
            raise UnavailableError("no management API is configured")
        return await self._exchange("GET", f"{self._management}/{path}", f"GET {path}")

    async def _call(
        self, method: str, endpoint: str, operation: str, job: str = "", body: bytes | None = None
    ) -> dict[str, Any]:
        gates = self._gates.get(endpoint)
        if gates is None:
            gates = self._gates[endpoint] = documented()
        url = f"{self._base}/{endpoint}/{operation}" + (f"/{job}" if job else "")
        async with gates[operation].call():
            return await self._exchange(method, url, f"/{operation} of endpoint {endpoint}", body)

    async def _exchange(self, method: str, url: str, what: str, body: bytes | None = None) -> dict[str, Any]:
        import aiohttp

        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await _read(response, what)
                status = response.status
                spent = response.headers.get(_REFUSED) == "quota"
        except aiohttp.ClientConnectorError as error:
            raise UnavailableError(f"{what}: no connection: {error.os_error.strerror or error}") from error
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            reason = (
                "no answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
            )
            raise UnavailableError(f"{what}: {reason}", taken=True) from error
        if status != 200:
            raise _problem(status, content, what, spent=spent)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UnavailableError(f"{what}: the answer is not JSON: {error}", taken=True) from error
        if not isinstance(answer, dict):
            raise UnavailableError(f"{what}: the answer is not an object", taken=True)
        return answer


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for an address."""
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme)


async def _read(response: aiohttp.ClientResponse, what: str) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > _MOST_BYTES:
            raise RejectedError(f"{what}: the answer is larger than {_MOST_BYTES >> 20} MB")
        parts.append(part)
    return b"".join(parts)


def _problem(status: int, content: bytes, what: str, *, spent: bool = False) -> Exception:
    text = f"{what}: HTTP {status}{_excerpt(content)}"
    if status in (401, 403):
        why = "is not a key that RunPod knows" if status == 401 else "may not do this"
        return AccessError(
            f"{text}. RUNPOD_API_KEY {why}: set it to a key with read and write access to the endpoint "
            "(RunPod's console: Settings, API Keys)."
        )
    if status == 404:
        return NotFoundError(text)
    if spent:
        return SpentError(text)
    if status in (408, 425, 429):
        return UnavailableError(text)
    if status >= 500:
        # A gateway answers so before and after the service behind it has taken the call.
        return UnavailableError(text, taken=True)
    return RejectedError(text)


def _excerpt(content: bytes) -> str:
    """What a body of an error says, in one line of text without its HTML."""
    text = content[:4000].decode("utf-8", "replace")
    try:
        found = json.loads(text)
        text = str(found.get("error") or found.get("detail") or found) if isinstance(found, dict) else text
    except ValueError:
        text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    line = " ".join(text.split())[:_EXCERPT]
    return f" ({line})" if line else ""
