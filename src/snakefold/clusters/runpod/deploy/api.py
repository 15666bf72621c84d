"""RunPod's management API v2, as far as a deployment needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from snakefold.clusters.runpod import NotFoundError, RejectedError, RunpodError, Session, UnavailableError
from snakefold.clusters.runpod.session import call, persist

Kind = Literal["volume", "template", "endpoint"]
Record = dict[str, Any]

#: Path of a kind of resource, and the key its list comes under.
_PATHS: dict[Kind, tuple[str, str]] = {
    "volume": ("network-volumes", "networkVolumes"),
    "template": ("templates", "templates"),
    "endpoint": ("serverless", "endpoints"),
}


@dataclass(frozen=True)
class Account:
    """What there is, by kind; what RunPod does not tell is empty or None.

    `secrets` and `worker_quota` are not in the API that it has published.
    """

    records: Mapping[Kind, list[Record]]
    pools: frozenset[str]
    data_centers: frozenset[str]
    secrets: frozenset[str] | None
    worker_quota: int | None


def read_account(session: Session) -> Account:
    """Everything that a plan is compared with; nothing is changed.

    Raises:
        RunpodError: the service cannot be asked, or the key may not see its endpoints.
    """
    gpus = _list(session, "catalog/gpus", "gpus")
    places = _list(session, "catalog/datacenters", "dataCenters")
    return Account(
        records={kind: _list(session, *_PATHS[kind]) for kind in _PATHS},
        pools=frozenset(str(gpu.get("pool")) for gpu in gpus if gpu.get("pool")),
        data_centers=frozenset(str(place.get("id")) for place in places),
        secrets=_secrets(session),
        worker_quota=_quota(session),
    )


def create(session: Session, kind: Kind, body: Mapping[str, Any]) -> Record:
    """Create a resource. The API has no idempotency key: after a lost answer it is looked for by its name."""
    path, key = _PATHS[kind]

    def attempt() -> Record:
        try:
            return _object(_call(session, "POST", path, body), path)
        except UnavailableError as error:
            if not error.taken:
                raise
            for record in _list(session, path, key):
                if account_name(record) == body["name"]:
                    return record
            raise

    return persist(session, attempt)


def update(session: Session, kind: Kind, resource: str, body: Mapping[str, Any]) -> Record:
    """Change the given fields of a resource."""
    path = f"{_PATHS[kind][0]}/{resource}"
    return persist(session, lambda: _object(_call(session, "PATCH", path, body), path))


def delete(session: Session, kind: Kind, resource: str) -> bool:
    """Delete a resource; False where it was gone already."""
    try:
        persist(session, lambda: _call(session, "DELETE", f"{_PATHS[kind][0]}/{resource}"))
    except NotFoundError:
        return False
    return True


def read(session: Session, kind: Kind, resource: str) -> Record | None:
    """A resource, or None where there is none of that id."""
    path = f"{_PATHS[kind][0]}/{resource}"
    try:
        return persist(session, lambda: _object(_call(session, "GET", path), path))
    except NotFoundError:
        return None


def workers(session: Session, endpoint: str) -> list[Record]:
    """Workers of an endpoint as they are now."""
    return _list(session, f"serverless/{endpoint}/workers", "workers")


def account_name(record: Mapping[str, Any]) -> str:
    """A record's name as it was given: an endpoint with FlashBoot may be listed with ` -fb` behind it."""
    return str(record.get("name", "")).removesuffix(" -fb")


def _secrets(session: Session) -> frozenset[str] | None:
    found = _unpublished(session, "account/secrets")
    names = found.get("secrets") if isinstance(found, dict) else found
    if not isinstance(names, list):
        return None
    return frozenset(str(secret.get("name")) for secret in names if isinstance(secret, dict))


def _quota(session: Session) -> int | None:
    """The most that workersMax may sum up to, where the account tells."""
    limits = _unpublished(session, "account/limits")
    found = limits.get("serverlessWorkers") if isinstance(limits, dict) else None
    value = found.get("limit", found.get("max")) if isinstance(found, dict) else found
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _unpublished(session: Session, path: str) -> Any:
    """What a path says that the published API does not have: asked once, and None whatever goes wrong."""
    try:
        return _call(session, "GET", path)
    except RunpodError:
        return None


def _list(session: Session, path: str, key: str) -> list[Record]:
    def attempt() -> list[Record]:
        answer = _call(session, "GET", path)
        items = answer.get(key) if isinstance(answer, dict) else answer
        if not isinstance(items, list):
            raise UnavailableError(f"GET {path}: the answer is no list.")
        return [item for item in items if isinstance(item, dict)]

    return persist(session, attempt)


def _object(answer: Any, path: str) -> Record:
    if not isinstance(answer, dict) or not isinstance(answer.get("id"), str):
        raise UnavailableError(f"{path}: the answer is no resource.", taken=True)
    return answer


def _call(session: Session, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    if not session.management_url:
        raise RejectedError(
            "RUNPOD_API_BASE_URL is set and RUNPOD_MANAGEMENT_URL is not: set both, or neither to have "
            "RunPod's own."
        )
    return call(session, method, f"{session.management_url}/{path}", body)
