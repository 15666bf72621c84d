"""What would have to change: a pure comparison of what is asked for with what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from snakefold.clusters.runpod.deploy.api import Account, Kind, Record, account_name
from snakefold.clusters.runpod.deploy.desired import Resource
from snakefold.clusters.runpod.deploy.lock import Lock
from snakefold.kernel.errors import ConfigError

#: Of an endpoint, what it has taken over from its template, and keeps when that changes.
CONTAINER = ("image", "args", "disk", "env", "ports", "registry")
#: Lists whose order means nothing.
_SETS = frozenset({"gpu.pools", "dataCenterIds", "networkVolumes", "ports"})
NEW = "(new)"
#: What is meant by a field that an answer leaves out: RunPod's default.
_ABSENT: Mapping[str, Any] = {
    "gpu.minCudaVersion": None,
    "args": "",
    "env": {},
    "ports": [],
    "registry": None,
    "dataCenterIds": [],
    "networkVolumes": [],
}


@dataclass(frozen=True)
class Difference:
    """One field. Values of the environment are never shown: what is there may be a secret."""

    path: str
    before: Any = field(repr=False)
    after: Any = field(repr=False)


@dataclass(frozen=True)
class Change:
    """What becomes of a resource. `id`: empty where it is yet to be made; `patch`: what an update sends."""

    action: Literal["create", "update", "keep", "delete"]
    kind: Kind
    key: str
    name: str
    id: str = ""
    differences: tuple[Difference, ...] = ()
    patch: Mapping[str, Any] = field(default_factory=dict, repr=False)
    resource: Resource | None = field(default=None, repr=False)


def compare(
    wanted: Sequence[Resource],
    account: Account,
    lock: Lock,
    concerns: Callable[[str], bool] = lambda _: True,
) -> list[Change]:
    """Changes in the order in which they are made.

    A resource is found by the id that was noted for it, else by its name. What was noted and is no longer
    asked for is deleted, except the volume.

    Args:
        concerns: whether what has a logical name may be deleted.

    Raises:
        ConfigError: a name is there twice, or something can only be changed by making it anew.
    """
    templates = {resource.key: resource for resource in wanted if resource.kind == "template"}
    changes: list[Change] = []
    volume = ""
    for resource in wanted:
        record = find(account, resource.kind, resource.name, lock.id_of(resource.kind, resource.key))
        if resource.kind == "volume":
            volume = record["id"] if record else NEW
        body = dict(resource.body)
        if resource.kind == "endpoint":
            body |= {name: templates[resource.key].body[name] for name in CONTAINER}
            body["networkVolumes"] = [volume] if resource.uses_volume and volume else []
        changes.append(_change(resource, body, record))
    asked = {(resource.kind, resource.key) for resource in wanted}
    return changes + [
        Change("delete", kind, key, account_name(record), record["id"])
        for kind, key, noted in lock.entries()
        if kind != "volume" and (kind, key) not in asked and concerns(key)
        if (record := find(account, kind, "", noted))
    ]


def find(account: Account, kind: Kind, name: str, noted: str | None) -> Record | None:
    """The record of an id, else the only one of a name.

    Raises:
        ConfigError: there are several of that name.
    """
    records = account.records[kind]
    for record in records:
        if noted and record.get("id") == noted:
            return record
    named = [record for record in records if name and account_name(record) == name]
    if len(named) > 1:
        ids = ", ".join(str(record.get("id")) for record in named)
        raise ConfigError(
            f"{kind} {name}: the account has {len(named)} of that name ({ids}). Delete or rename all but "
            "one, or choose another `prefix` in endpoints.yaml."
        )
    return named[0] if named else None


def _change(resource: Resource, body: Mapping[str, Any], record: Record | None) -> Change:
    place = (resource.kind, resource.key, resource.name)
    if record is None:
        return Change("create", *place, resource=resource)
    differences = tuple(_differences(body, record))
    _possible(resource, differences)
    patch: dict[str, Any] = {}
    for difference in differences:
        top, _, leaf = difference.path.partition(".")
        if top == "env":
            patch["env"] = body["env"]
        elif top in ("gpu", "scaling"):
            patch[top] = body[top]
        elif leaf:
            patch.setdefault(top, {})[leaf] = difference.after
        else:
            patch[top] = difference.after
    action: Literal["update", "keep"] = "update" if differences else "keep"
    return Change(action, *place, str(record["id"]), differences, patch, resource)


def _differences(body: Mapping[str, Any], record: Mapping[str, Any], above: str = "") -> Iterator[Difference]:
    """Fields of `body` that are otherwise in `record`; what the answer does not have cannot be compared."""
    for name, after in body.items():
        path = f"{above}{name}"
        before = account_name(record) if path == "name" else record.get(name, _ABSENT.get(path))
        if name not in record and path not in _ABSENT:
            continue
        if path == "env":
            yield from _environment(after, before if isinstance(before, Mapping) else {})
        elif isinstance(after, Mapping) and isinstance(before, Mapping):
            yield from _differences(after, before, f"{path}.")
        elif not _equal(path, before, after):
            yield Difference(path, before, after)


def _environment(after: Mapping[str, str], before: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted({*after, *before}):
        if after.get(name) != before.get(name):
            states = [("unset" if name not in side else "set") for side in (before, after)]
            yield Difference(
                f"env.{name}", states[0], "another value" if states == ["set"] * 2 else states[1]
            )


def _equal(path: str, before: Any, after: Any) -> bool:
    if path in _SETS and isinstance(before, list):
        return sorted(map(str, before)) == sorted(map(str, after))
    return before == after or (not before and not after and not isinstance(after, int | float))


def _possible(resource: Resource, differences: Sequence[Difference]) -> None:
    """What the API cannot change is said before anything is."""
    for difference in differences:
        where = f"{resource.kind} {resource.name}"
        if resource.kind == "volume" and difference.path in ("dataCenter", "type"):
            raise ConfigError(
                f"{where}: {difference.path} is {difference.before} and cannot become {difference.after}. "
                "Give the volume in endpoints.yaml another name to have a new one, and copy what "
                "you need to it."
            )
        if resource.kind == "volume" and difference.path == "size" and difference.after < difference.before:
            raise ConfigError(
                f"{where}: has {difference.before} GB and cannot shrink. Set size_gb: {difference.before}."
            )
        if resource.kind == "endpoint" and difference.path == "type":
            raise ConfigError(
                f"{where}: is an endpoint of type {difference.before}. Delete it, or choose another `prefix`."
            )
