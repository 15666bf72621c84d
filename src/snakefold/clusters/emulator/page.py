"""What the emulator shows of itself, without a key: /emulator/state for programs, / for people."""

from __future__ import annotations

import collections
import html
from typing import TYPE_CHECKING, Any

from aiohttp import web

from snakefold.clusters.emulator.worker import POOLS

if TYPE_CHECKING:
    from snakefold.clusters.emulator.endpoint import Endpoint
    from snakefold.clusters.emulator.service import Emulator

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<title>Emulated RunPod service</title>
<style>body{{font:15px system-ui;margin:2rem;max-width:60rem}}
td,th{{text-align:left;padding:.2rem .8rem .2rem 0}}
code{{background:#8882;padding:.1rem .3rem}}</style>
<h1>Emulated RunPod service</h1>
<p>No GPU is rented and nothing is paid. Jobs API <code>{url}</code>, API key <code>{key}</code>,
management API <code>{management}</code>; the same as JSON: <a href="/emulator/state">here</a>.</p>
<table><tr><th>endpoint<th>jobs<th>workers<th>billed</tr>{endpoints}</table>
<h2>Latest jobs</h2><table><tr><th>job<th>endpoint<th>state<th>executions</tr>{jobs}</table>
</html>"""


def state(service: Emulator) -> dict[str, Any]:
    calls = collections.Counter(f"{call.operation} {call.status}" for call in service.calls)
    return {
        "time": service.clock.now(),
        "url": service.url,
        "management_url": service.management_url,
        "live_jobs": len(service.live_jobs()),
        "calls": dict(sorted(calls.items())),
        "webhooks": len(service.webhooks.deliveries),
        "endpoints": {name: _endpoint(endpoint) for name, endpoint in service.endpoints.items()},
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    billed, now = endpoint.billed_seconds(), endpoint.clock.now()
    return {
        **endpoint.health(),
        "workersMax": endpoint.scaling.workers_max,
        "workersEver": len(endpoint.workers),
        "billedSeconds": billed,
        "executionSeconds": round(endpoint.execution_seconds(), 3),
        "dollars": round(billed * POOLS[endpoint.pool][0], 6) if endpoint.pool in POOLS else None,
        "workerList": [
            {
                "id": worker.id,
                "state": worker.state.value,
                "busy": list(worker.busy),
                "billedSeconds": worker.billed_seconds(now),
                "reason": worker.reason,
            }
            for worker in endpoint.workers.values()
        ],
    }


def routes(router: web.UrlDispatcher, service: Emulator) -> None:
    async def as_json(_: web.Request) -> web.Response:
        return web.json_response(state(service))

    async def as_page(_: web.Request) -> web.Response:
        endpoints = "".join(
            f"<tr><td>{html.escape(name)}<td>{html.escape(_counts(shown['jobs']))}"
            f"<td>{html.escape(_counts(shown['workers']))} (of at most {shown['workersMax']})"
            f"<td>{shown['billedSeconds']} s"
            + (f" (would be ${shown['dollars']:.4f})" if shown["dollars"] is not None else "")
            for name, shown in state(service)["endpoints"].items()
        )
        jobs = "".join(
            f"<tr><td><code>{html.escape(job.id)}</code><td>{html.escape(name)}"
            f"<td>{job.state.value}{f' ({job.deleted})' if job.deleted else ''}<td>{len(job.attempts)}"
            for name, endpoint in service.endpoints.items()
            for job in list(endpoint.jobs.records.values())[:-21:-1]
        )
        text = _PAGE.format(
            url=service.url,
            key=service.api_key,
            management=service.management_url,
            endpoints=endpoints,
            jobs=jobs,
        )
        return web.Response(text=text, content_type="text/html")

    router.add_get("/emulator/state", as_json)
    router.add_get("/", as_page)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
