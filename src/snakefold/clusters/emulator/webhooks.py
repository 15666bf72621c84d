"""Deliveries of finished jobs to the webhook they were sent with."""

from __future__ import annotations

import dataclasses
import ipaddress
import urllib.parse

import aiohttp

from snakefold.clusters.emulator.clock import Clock
from snakefold.clusters.emulator.jobs import Job

TRIES, DELAY, TIMEOUT = 3, 10.0, 10.0


@dataclasses.dataclass(frozen=True)
class Delivery:
    """One try; `status` is what was answered, 0 where nothing was."""

    job: str
    url: str
    time: float
    status: int
    error: str = ""


class Webhooks:
    """POSTs the status of a finished job; anything but 200 is tried twice more, ten seconds apart."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.deliveries: list[Delivery] = []

    def deliver(self, job: Job) -> None:
        if job.webhook is not None:
            self._clock.spawn(self._deliver(job.id, job.webhook, job.view(self._clock.now())))

    async def _deliver(self, job_id: str, url: str, body: dict[str, object]) -> None:
        if not is_loopback(url):
            error = "the emulator delivers to loopback addresses only"
            self.deliveries.append(Delivery(job_id, url, self._clock.now(), 0, error))
            return
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT)) as session:
            for attempt in range(TRIES):
                if attempt:
                    await self._clock.sleep(DELAY)
                status, error = await self._post(session, url, body)
                self.deliveries.append(Delivery(job_id, url, self._clock.now(), status, error))
                if status == 200:
                    return

    @staticmethod
    async def _post(session: aiohttp.ClientSession, url: str, body: dict[str, object]) -> tuple[int, str]:
        try:
            async with session.post(url, json=body, allow_redirects=False) as response:
                return response.status, ""
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return 0, f"{type(error).__name__}: {error}"


def is_loopback(url: str) -> bool:
    host = urllib.parse.urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
