"""Traps that a plan would walk into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from snakefold.clusters.runpod.deploy.api import Account
from snakefold.clusters.runpod.deploy.desired import Deployment, Resource, Wanted, version_of
from snakefold.clusters.runpod.deploy.diff import Change
from snakefold.plan.executors import Executor

_NEW_ACCOUNT = 5
_REFERENCE = ("{{ RUNPOD_SECRET_", " }}")


@dataclass(frozen=True)
class Note:
    """What a person should know before anything is changed. An `error` stops `apply`."""

    level: Literal["error", "warning", "note"]
    text: str


def check(wanted: Sequence[Resource], account: Account, changes: Sequence[Change]) -> list[Note]:
    """Everything that is found, errors first."""
    notes = [
        *_catalogue(wanted, account),
        *_secrets(wanted, account),
        *_quota(wanted, account, changes),
        *_scaled_down(changes),
        *_always_on(wanted),
        *_drivers(wanted),
    ]
    return sorted(notes, key=lambda note: ("error", "warning", "note").index(note.level))


def _catalogue(wanted: Sequence[Resource], account: Account) -> Iterator[Note]:
    for resource in wanted:
        pools = resource.body["gpu"]["pools"] if resource.kind == "endpoint" else []
        places = [resource.body["dataCenter"]] if resource.kind == "volume" else []
        places += resource.body.get("dataCenterIds", [])
        for what, names, known in (
            ("GPU pool", pools, account.pools),
            ("data centre", places, account.data_centers),
        ):
            for name in names:
                if known and name not in known:
                    yield Note(
                        "error",
                        f"{resource.kind} {resource.name}: RunPod has no {what} {name}. It has: "
                        f"{', '.join(sorted(known))}.",
                    )


def _secrets(wanted: Sequence[Resource], account: Account) -> Iterator[Note]:
    start, end = _REFERENCE
    values = [value for one in wanted if one.kind == "template" for value in one.body["env"].values()]
    named = sorted({v.removeprefix(start).removesuffix(end) for v in values if v.startswith(start)})
    if named and account.secrets is None:
        yield Note(
            "note", f"not known: whether the account has the secrets {', '.join(named)}. They must be there."
        )
    for name in named if account.secrets is not None else []:
        if name not in (account.secrets or ()):
            yield Note(
                "error", f"the account has no secret {name}. Make it in RunPod's console: Settings, Secrets."
            )


def _quota(wanted: Sequence[Resource], account: Account, changes: Sequence[Change]) -> Iterator[Note]:
    ours = {change.id for change in changes if change.kind == "endpoint"}
    asked = sum(one.body["workers"]["max"] for one in wanted if one.kind == "endpoint")
    others = sum(
        int((record.get("workers") or {}).get("max") or 0)
        for record in account.records["endpoint"]
        if record.get("id") not in ours
    )
    quota = account.worker_quota
    sums = f"workers_max adds up to {asked}" + (f", and {others} of other endpoints" if others else "")
    if quota is None:
        if asked + others > _NEW_ACCOUNT:
            yield Note(
                "warning",
                f"{sums}; not known: the account's quota of workers. It is 5 at first, 10 from a balance "
                "of $100, 20 from $200, 60 from $900.",
            )
    elif asked + others > quota:
        yield Note(
            "error",
            f"{sums}; the account's quota is {quota}. Lower workers_max in endpoints.yaml, or raise the "
            "balance (10 workers from $100, 20 from $200, 60 from $900).",
        )


def check_transfer(executor: Executor, wanted: Sequence[Resource], volume: str | None) -> list[Note]:
    """What the profile beside endpoints.yaml lets a job carry.

    Args:
        volume: id of the network volume, as far as it is known.
    """
    if executor.results is None:
        return []
    place = next((one.body["dataCenter"] for one in wanted if one.kind == "volume"), None)
    own = f"runpod-volume: {volume or 'ID'} and runpod-datacenter: {place}" if place else ""
    return [
        Note(
            "warning",
            f"the profile has no storage: a job carries {(executor.inputs or 0) / 1e6:.1f} MB of inputs "
            f"and {executor.results / 1e6:.1f} MB of results, and a run with larger targets stops at "
            f"its plan. In config.v9+.yaml set {own + ', or ' if own else ''}runpod-bucket (docs/runpod.md).",
        )
    ]


def _drivers(wanted: Sequence[Resource]) -> Iterator[Note]:
    for one in wanted:
        if one.kind != "endpoint":
            continue
        asked = one.body["gpu"]["minCudaVersion"]
        if asked is None or version_of(asked) < version_of(one.cuda):
            yield Note(
                "warning",
                f"endpoint {one.name}: min_cuda_version is {asked or 'any'}, and snakefold's image is built "
                f"on CUDA {one.cuda}: on a host with an older driver its workers fail at their start. "
                "Leave min_cuda_version out, unless your image is built on another.",
            )


def check_engines(deployment: Deployment, wanted: Wanted, endpoints: Mapping[str, str]) -> list[Note]:
    """Endpoints that are left out for want of an image, or that no run sends jobs to.

    Args:
        endpoints: engine → endpoint, the setting `runpod.endpoints` of the profile beside endpoints.yaml.
    """
    notes = []
    for name, endpoint in deployment.endpoints.items():
        if name in wanted.left_out:
            if not wanted.only:
                notes.append(Note("note", f"endpoint {name}: is left as it is: {wanted.left_out[name]}"))
        elif endpoint.engine and (sent := endpoints.get(endpoint.engine)) != name:
            notes.append(
                Note(
                    "warning",
                    f"endpoint {name}: has the image of engine {endpoint.engine}, whose jobs a run sends "
                    f"{f'to {sent}' if sent else 'nowhere'}. In settings.yaml of the profile set "
                    f"runpod.endpoints.{endpoint.engine}: {name}.",
                )
            )
    return notes


def _scaled_down(changes: Sequence[Change]) -> Iterator[Note]:
    for change in changes:
        for difference in change.differences:
            if difference.path != "workers.max" or difference.before >= difference.after:
                continue
            if difference.before in (0, 2):
                yield Note(
                    "warning",
                    f"endpoint {change.name} has workersMax {difference.before}: RunPod lowers it to 2 "
                    "after three days without requests and to 0 after seven, and leaves it there. `apply` "
                    "raises it.",
                )


def _always_on(wanted: Sequence[Resource]) -> Iterator[Note]:
    for one in wanted:
        workers = one.body["workers"] if one.kind == "endpoint" else {"min": 0, "max": 1}
        if workers["min"]:
            dollars = workers["min"] * one.dollars_per_second * 3600
            yield Note(
                "warning",
                f"endpoint {one.name}: workers_min {workers['min']} is paid for all the time, up to "
                f"${dollars:.2f} an hour at the price of flexible workers.",
            )
        if not workers["max"]:
            yield Note("warning", f"endpoint {one.name}: with workers_max 0 no job of it ever starts.")
