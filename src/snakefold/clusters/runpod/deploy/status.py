"""What deployed endpoints do now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from snakefold.clusters.runpod import NotFoundError, Session, get_health
from snakefold.clusters.runpod.deploy import api
from snakefold.clusters.runpod.deploy.desired import Resource
from snakefold.clusters.runpod.deploy.lock import Lock

HEAD = ("endpoint", "id", "workers", "workersMax", "queued", "running", "$/h of a worker", "note")


def rows(session: Session, wanted: Sequence[Resource], lock: Lock) -> list[tuple[str, ...]]:
    """A row for each endpoint that was deployed, under `HEAD`; dollars at published prices."""
    prices = {one.key: one.dollars_per_second for one in wanted if one.kind == "endpoint"}
    table: list[tuple[str, ...]] = [HEAD]
    for kind, key, identifier in lock.entries():
        if kind != "endpoint":
            continue
        record = api.read(session, "endpoint", identifier)
        if record is None:
            table.append((key, identifier, "", "", "", "", "", "is gone: snakefold deploy apply"))
            continue
        most = (record.get("workers") or {}).get("max")
        states = Counter(str(one.get("status", "?")).lower() for one in api.workers(session, identifier))
        try:
            jobs = get_health(session, identifier).get("jobs") or {}
        except NotFoundError:
            jobs = {}
        price = f"{prices[key] * 3600:.2f}" if key in prices else ""
        table.append(
            (
                key,
                identifier,
                ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none",
                str(most),
                str(jobs.get("inQueue", "?")),
                str(jobs.get("inProgress", "?")),
                price,
                _note(most, states, int(jobs.get("inQueue") or 0)),
            )
        )
    return table


def _note(most: object, states: Counter[str], queued: int) -> str:
    if most == 0:
        return "no job can start: scaled to 0 (a week without requests?); snakefold deploy apply raises it"
    if states["unhealthy"]:
        return "workers fail while they start: read their logs in RunPod's console (they are not billed)"
    if states["throttled"] and queued:
        return "no GPU of its classes is free; add classes, or another data centre"
    return ""
