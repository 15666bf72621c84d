"""Why jobs wait: what the endpoint's settings and its workers' states say."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .client import Client
from .errors import RunpodError


async def workers_max(client: Client, endpoint: str) -> int | None:
    """workersMax of an endpoint; None where the management API cannot be asked."""
    try:
        workers = (await client.endpoint(endpoint)).get("workers")
        return int(workers["max"]) if isinstance(workers, dict) else None
    except (RunpodError, KeyError, TypeError, ValueError):
        return None


async def why_waiting(client: Client, endpoint: str) -> str:
    """One sentence: why jobs of an endpoint stay in its queue, as far as RunPod tells."""
    most = await workers_max(client, endpoint)
    if most == 0:
        return (
            f"endpoint {endpoint} may start no workers: its workersMax is 0 (RunPod lowers it when an "
            "endpoint was not used for days, and does not raise it again); raise it in RunPod's console"
        )
    states = await _states(client, endpoint)
    if states is None:
        return f"RunPod does not tell the state of the workers of endpoint {endpoint}"
    running = states["RUNNING"] + states["IDLE"]
    if running:
        return f"workers of endpoint {endpoint} are busy ({running}); the jobs wait for their turn"
    if states["UNHEALTHY"]:
        return (
            f"workers of endpoint {endpoint} are UNHEALTHY ({states['UNHEALTHY']}): they die when they "
            "start. Look at their logs in RunPod's console (image, command, missing environment variables)"
        )
    if states["THROTTLED"]:
        return (
            f"no capacity: workers of endpoint {endpoint} are THROTTLED ({states['THROTTLED']}), RunPod has "
            "no such GPU free. Allow it more GPU types or data centres, or wait"
        )
    if states["INITIALIZING"]:
        return f"workers of endpoint {endpoint} are starting ({states['INITIALIZING']}): pulling their image"
    return f"endpoint {endpoint} has no workers, and RunPod does not tell why"


async def _states(client: Client, endpoint: str) -> Counter[str] | None:
    try:
        return Counter(str(worker.get("status")) for worker in await client.workers(endpoint))
    except RunpodError:
        pass
    try:
        workers: Any = (await client.health(endpoint)).get("workers")
    except RunpodError:
        return None
    if not isinstance(workers, dict):
        return None
    return Counter({str(name).upper(): int(n) for name, n in workers.items() if isinstance(n, int)})
