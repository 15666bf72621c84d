"""Make a plan come true, and take it down again. Every id is noted as soon as it is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from snakefold.clusters.runpod import NotFoundError, RejectedError, Session, get_health
from snakefold.clusters.runpod.deploy import api
from snakefold.clusters.runpod.deploy.api import Account, Kind
from snakefold.clusters.runpod.deploy.desired import Resource
from snakefold.clusters.runpod.deploy.diff import Change, find
from snakefold.clusters.runpod.deploy.lock import Lock
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.wording import count

_Told = Callable[[str], None]


def apply(
    session: Session, changes: Sequence[Change], lock: Lock, told: _Told, *, force: bool = False
) -> None:
    """Carry out `changes`, deletions first: they make room in the account's quota.

    Safe to run again after an end in the middle: what was made is found by its id or its name.

    Raises:
        SnakefoldError: an endpoint that is to go has jobs, and `force` is not given.
    """
    gone = [change for change in changes if change.action == "delete"]
    _no_jobs(session, [change for change in gone if change.kind == "endpoint"], force)
    for change in gone:
        _delete(session, change, lock, told)
    ids: dict[tuple[Kind, str], str] = {}
    for change in changes:
        if change.resource is None:
            continue
        ids[change.kind, change.key] = identifier = _bring(session, change, ids, told)
        if lock.id_of(change.kind, change.key) != identifier:
            lock.note(change.kind, change.key, identifier)


def removals(
    wanted: Sequence[Resource],
    account: Account,
    lock: Lock,
    concerns: Callable[[str], bool] = lambda _: True,
    *,
    with_volume: bool,
) -> list[Change]:
    """What `destroy` would delete: what was noted, and what has the names of endpoints.yaml.

    Args:
        concerns: whether what has a logical name may be deleted.
    """
    found: dict[tuple[Kind, str], Change] = {}
    names = {(one.kind, one.key): one.name for one in wanted}
    keys = [(kind, key) for kind, key, _ in lock.entries()] + list(names)
    for kind, key in keys:
        if kind != "volume" and not concerns(key):
            continue
        record = find(account, kind, names.get((kind, key), ""), lock.id_of(kind, key))
        if record is not None and (kind != "volume" or with_volume):
            found[kind, key] = Change("delete", kind, key, api.account_name(record), record["id"])
    order: tuple[Kind, ...] = ("endpoint", "template", "volume")
    return sorted(found.values(), key=lambda change: order.index(change.kind))


def destroy(
    session: Session, changes: Sequence[Change], lock: Lock, told: _Told, *, force: bool = False
) -> None:
    """Carry out `removals`.

    Raises:
        SnakefoldError: an endpoint has jobs, and `force` is not given.
    """
    _no_jobs(session, [change for change in changes if change.kind == "endpoint"], force)
    for change in changes:
        _delete(session, change, lock, told)


def _bring(session: Session, change: Change, ids: dict[tuple[Kind, str], str], told: _Told) -> str:
    """Create or update one resource; its id."""
    resource = change.resource
    if resource is None or change.action == "keep":
        return change.id
    volume = ids.get(("volume", "volume"))
    if change.action == "create":
        body: dict[str, Any] = dict(resource.body)
        if change.kind == "endpoint":
            body = resource.with_ids(ids["template", change.key], volume)
        identifier = str(api.create(session, change.kind, body)["id"])
        told(f"created {change.kind} {change.name} ({identifier})")
        return identifier
    patch = dict(change.patch)
    if "networkVolumes" in patch:  # it may name a volume that was only just made
        patch["networkVolumes"] = [volume] if resource.uses_volume and volume else []
    api.update(session, change.kind, change.id, patch)
    told(f"updated {change.kind} {change.name} ({change.id})")
    return change.id


def _delete(session: Session, change: Change, lock: Lock, told: _Told) -> None:
    try:
        there = api.delete(session, change.kind, change.id)
    except RejectedError:
        if change.kind != "endpoint":
            raise
        # One that may still start workers is not always let go.
        api.update(session, "endpoint", change.id, {"workers": {"min": 0, "max": 0}})
        there = api.delete(session, "endpoint", change.id)
    told(f"deleted {change.kind} {change.name} ({change.id})" if there else f"{change.name} was gone already")
    lock.forget(change.kind, change.key)


def _no_jobs(session: Session, changes: Sequence[Change], force: bool) -> None:
    for change in changes:
        try:
            jobs = get_health(session, change.id).get("jobs") or {}
        except NotFoundError:
            continue
        live = sum(int(jobs.get(name) or 0) for name in ("inProgress", "inQueue"))
        if live and not force:
            raise SnakefoldError(
                f"endpoint {change.name} has {count(live, 'job')} waiting or running, which would be lost. "
                "Wait for them, cancel them, or give --force. Nothing was deleted."
            )
