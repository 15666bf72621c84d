"""The service as a program: it says where it is, serves until a signal ends it, and says what was billed."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys

from snakefold.clusters.emulator.auth import API_KEY, NO_ACCESS_KEY, READ_ONLY_KEY
from snakefold.clusters.emulator.processes import ProcessWorkers
from snakefold.clusters.emulator.service import Emulator


def serve(service: Emulator) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        OSError: it cannot listen; `service.root` is empty then.
    """
    asyncio.run(_serve(service))


async def _serve(service: Emulator) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with service:
        print(_table(service), flush=True)
        await stop.wait()
        print("stopping: workers are ended", file=sys.stderr, flush=True)
    for name, endpoint in service.endpoints.items():
        print(f"{name}: {len(endpoint.jobs.records)} jobs, {endpoint.billed_seconds()} s billed", flush=True)


def _table(service: Emulator) -> str:
    rows = [
        ("page", f"{service.root}/"),
        ("jobs API", f"{service.url}    (in place of https://api.runpod.ai/v2)"),
        ("management API", f"{service.management_url}    (in place of https://api.runpod.io/v2)"),
        ("API key", f"{API_KEY}    (read only: {READ_ONLY_KEY}; refused with 403: {NO_ACCESS_KEY})"),
    ]
    for name, endpoint in service.endpoints.items():
        workers = endpoint.backend
        what = shlex.join(workers.command) if isinstance(workers, ProcessWorkers) else "stub"
        rows.append((f"endpoint {name}", f"{what}, {endpoint.scaling.workers_max} workers at most"))
        if isinstance(workers, ProcessWorkers):
            rows.append(("", f"logs in {workers.folder}"))
    return "\n".join(f"{title:16} {text}" for title, text in rows)
