"""What the account holds, and the rules of the management API v2 for it; nothing of HTTP.

An endpoint created here takes jobs at once, on stub workers or what `Account.workers_for` makes of it.
"""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from snakefold.clusters.emulator import management_models as models
from snakefold.clusters.emulator.endpoint import Endpoint
from snakefold.clusters.emulator.management_models import DATA_CENTERS, iso, new_id, new_record
from snakefold.clusters.emulator.stubs import StubWorkers
from snakefold.clusters.emulator.worker import POOLS, Backend, Scaling, Worker, WorkerState

if TYPE_CHECKING:
    from snakefold.clusters.emulator.service import Emulator


API_KEY = "rpa_EMULATOR"
READ_ONLY_KEY = "rpa_EMULATOR_READ_ONLY"
NO_ACCESS_KEY = "rpa_EMULATOR_NO_ACCESS"


@dataclasses.dataclass(frozen=True)
class Scope:
    """What a key may do. `endpoints`: ids it opens; None: all."""

    read: bool = True
    write: bool = True
    endpoints: frozenset[str] | None = None


DEFAULT_KEYS: Mapping[str, Scope] = {
    API_KEY: Scope(),
    READ_ONLY_KEY: Scope(write=False),
    NO_ACCESS_KEY: Scope(read=False, write=False),
}


def refusal(
    keys: Mapping[str, Scope], header: str | None, *, write: bool, endpoint: str | None = None
) -> int | None:
    """401 for a key that is missing or unknown, 403 for one that does not reach so far, None where it opens.

    The header is `Bearer KEY`, or the bare key, as RunPod's own examples send it.
    """
    given = (header or "").strip()
    if given[:7].lower() == "bearer ":
        given = given[7:].strip()
    scope = next(
        (scope for key, scope in keys.items() if hmac.compare_digest(key.encode(), given.encode())), None
    )
    if scope is None:
        return 401
    if not (scope.write if write else scope.read):
        return 403
    if endpoint is not None and scope.endpoints is not None and endpoint not in scope.endpoints:
        return 403
    return None


Record = dict[str, Any]
_CONTAINER = ("args", "disk", "env", "image", "ports", "registry")


class Problem(Exception):
    """A request that is refused, with its HTTP status; `errors` name the fields that are wrong."""

    def __init__(self, status: int, detail: str, errors: list[str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, errors


@dataclasses.dataclass
class Account:
    """Templates, endpoints and network volumes, by id. Every method may raise `Problem`."""

    service: Emulator
    workers_for: Callable[[Mapping[str, Any]], Backend] = lambda _: StubWorkers()
    templates: dict[str, Record] = dataclasses.field(default_factory=dict)
    endpoints: dict[str, Record] = dataclasses.field(default_factory=dict)
    volumes: dict[str, Record] = dataclasses.field(default_factory=dict)
    secrets: list[str] = dataclasses.field(default_factory=list)
    worker_quota: int | None = None  # of workersMax over all endpoints; None: no limit
    bound: dict[str, str] = dataclasses.field(default_factory=dict)  # endpoint id → template id
    # Where the documentation is silent, tests choose: the answer of /account/limits, paths that no key may
    # see, and whether an endpoint goes that may still start workers.
    limits: Any = None
    refused: set[str] = dataclasses.field(default_factory=set)
    keeps_what_may_start: bool = False

    # The account: no page of the published API has these two, their answers are assumed.

    def limits_record(self) -> Any:
        if self.limits is not None:
            return self.limits
        return {"serverlessWorkers": {"current": self._workers_max(), "limit": self.worker_quota}}

    def secret_records(self) -> list[dict[str, str]]:
        return [{"id": f"secret-{number}", "name": name} for number, name in enumerate(self.secrets)]

    def _workers_max(self, but: str = "") -> int:
        return sum(e.scaling.workers_max for e in self.service.endpoints.values() if e.id != but)

    def _keep_quota(self, given: Mapping[str, Any], endpoint: str = "") -> None:
        most = (given.get("workers") or {}).get("max", 0)
        if self.worker_quota is not None and self._workers_max(endpoint) + most > self.worker_quota:
            raise Problem(400, f"workers.max: the account may have {self.worker_quota} workers in all")

    # Templates

    def template(self, name: str) -> Record:
        return _found(self.templates, name)

    def create_template(self, body: models.CreateTemplate) -> Record:
        if any(template["name"] == body.name for template in self.templates.values()):
            raise Problem(400, f"a template named {body.name} exists")
        record = {"id": new_id(), **body.model_dump()}
        self.templates[record["id"]] = record
        return record

    def update_template(self, name: str, body: models.UpdateTemplate) -> Record:
        record = self.template(name)
        record.update(body.given())
        return record

    def delete_template(self, name: str) -> None:
        self.template(name)
        if name in self.bound.values():
            raise Problem(400, "the template is bound to a serverless endpoint")
        del self.templates[name]

    # Endpoints

    def endpoint(self, name: str) -> Endpoint:
        endpoint = self.service.endpoints.get(name)
        if endpoint is None:
            raise Problem(404, "endpoint not found")
        return endpoint

    def endpoint_records(self) -> list[Record]:
        return [self.endpoint_record(endpoint) for endpoint in self.service.endpoints.values()]

    def endpoint_record(self, endpoint: Endpoint) -> Record:
        record = self.endpoints.setdefault(endpoint.id, new_record(endpoint.id, endpoint.pool))
        scaling, base = endpoint.scaling, f"{self.service.url}/{endpoint.id}"
        record["workers"] = {
            "min": scaling.workers_min,
            "max": scaling.workers_max,
            "idleTimeout": int(scaling.idle_timeout),
        }
        if scaling.request_count is None:
            record["scaling"] = {"type": "QUEUE_DELAY", "queueDelay": scaling.queue_delay}
        else:
            record["scaling"] = {"type": "REQUEST_COUNT", "requestCount": scaling.request_count}
            del record["workers"]["idleTimeout"]
        record["timeout"] = round(endpoint.execution_timeout * 1000)
        record["requestUrls"] = {
            "run": f"{base}/run",
            "runSync": f"{base}/runsync",
            "status": f"{base}/status/:id",
            "stream": f"{base}/stream/:id",
            "cancel": f"{base}/cancel/:id",
            "retry": f"{base}/retry/:id",
            "purgeQueue": f"{base}/purge-queue",
            "health": f"{base}/health",
        }
        return record

    def create_endpoint(self, body: models.CreateEndpoint) -> Record:
        if (body.gpu is None) == (body.cpu is None):
            raise Problem(400, "exactly one of gpu and cpu must be given")
        if body.type == "LOAD_BALANCER":
            raise Problem(400, "the emulator has queue-based endpoints only")
        self._keep_quota(body.model_dump())
        record = new_record(new_id(), body.gpu.pools[0] if body.gpu else "")
        self._apply(record, body)
        endpoint = self.service.add_endpoint(
            record["id"], {"workers": self.workers_for(record), "scaling": Scaling(), "pool": record["pool"]}
        )
        self.endpoints[endpoint.id] = record
        if body.templateId is not None:
            self.bound[endpoint.id] = body.templateId
        _apply_scaling(endpoint, body.model_dump())
        return self.endpoint_record(endpoint)

    def update_endpoint(self, name: str, body: models.UpdateEndpoint) -> Record:
        endpoint = self.endpoint(name)
        record = self.endpoint_record(endpoint)
        if body.cpu is not None:
            raise Problem(400, "the compute family of an endpoint cannot be changed")
        self._keep_quota(body.given(), endpoint.id)
        self._apply(record, body)
        _apply_scaling(endpoint, body.given())
        endpoint.scale()
        return self.endpoint_record(endpoint)

    async def delete_endpoint(self, name: str) -> None:
        endpoint = self.endpoint(name)
        if self.keeps_what_may_start and endpoint.scaling.workers_max:
            raise Problem(400, "workers.max must be 0 before an endpoint can be deleted")
        del self.service.endpoints[endpoint.id]
        self.endpoints.pop(endpoint.id, None)
        self.templates.pop(self.bound.pop(endpoint.id, ""), None)
        await endpoint.close()

    def worker_records(self, name: str) -> Record:
        endpoint = self.endpoint(name)
        workers = [worker for worker in endpoint.workers.values() if not worker.gone]
        image = self.endpoint_record(endpoint)["image"] or None
        states = [state for state in WorkerState if state is not WorkerState.STOPPED]
        summary = {state.value.lower(): sum(w.state is state for w in workers) for state in states}
        return {
            "workers": [_worker(endpoint, worker, image) for worker in workers],
            "summary": {**summary, "total": len(workers)},
            "endpointVersion": 1,
        }

    def _apply(self, record: Record, body: models.UpdateEndpoint) -> None:
        given = body.given()
        for pool in (given.get("gpu") or {}).get("pools", ()):
            if pool not in POOLS:
                raise Problem(400, f"no GPU pool named {pool}")
        if (gpu := given.get("gpu") or {}).get("allowedCudaVersions") and gpu.get("minCudaVersion"):
            raise Problem(400, "gpu.allowedCudaVersions and gpu.minCudaVersion exclude each other")
        if body.templateId is not None:
            template = self.templates.get(body.templateId)
            if template is None:
                raise Problem(404, "template not found")
            if not template["serverless"]:
                raise Problem(422, "the template is not a serverless template")
            env = {**template["env"], **given.get("env", {})}
            given = {**{name: template[name] for name in _CONTAINER}, **given, "env": env}
        after = {**record, **given}
        places = after["dataCenterIds"]
        for volume in after["networkVolumes"]:
            if volume not in self.volumes:
                raise Problem(404, f"network volume {volume} not found")
            if places and self.volumes[volume]["dataCenter"] not in places:
                raise Problem(400, f"network volume {volume} is not in any of {', '.join(places)}")
        for name in ("name", "type", "dataCenterIds", "networkVolumes", "flashboot", *_CONTAINER):
            if name in given:
                record[name] = given[name]
        record["gpu"].update(given.get("gpu") or {})

    # Network volumes

    def volume(self, name: str) -> Record:
        return _found(self.volumes, name)

    def create_volume(self, body: models.CreateVolume) -> Record:
        if body.dataCenter not in DATA_CENTERS:
            raise Problem(400, f"no data centre {body.dataCenter}")
        record = {"id": new_id(), **body.model_dump()}
        self.volumes[record["id"]] = record
        return record

    def update_volume(self, name: str, body: models.UpdateVolume) -> Record:
        record, given = self.volume(name), body.given()
        if given.get("size", record["size"]) < record["size"]:
            raise Problem(400, "the size of a network volume cannot be reduced")
        record.update(given)
        return record

    def delete_volume(self, name: str) -> None:
        self.volume(name)
        del self.volumes[name]


def _found(held: Mapping[str, Record], name: str) -> Record:
    record = held.get(name)
    if record is None:
        raise Problem(404, f"{name} not found")
    return record


def _apply_scaling(endpoint: Endpoint, given: Mapping[str, Any]) -> None:
    scaling, workers, rule = endpoint.scaling, given.get("workers") or {}, given.get("scaling")
    scaling.workers_min = workers.get("min", scaling.workers_min)
    scaling.workers_max = workers.get("max", scaling.workers_max)
    scaling.idle_timeout = workers.get("idleTimeout", scaling.idle_timeout)
    if rule is not None:
        scaling.request_count = rule.get("requestCount")
        scaling.queue_delay = rule.get("queueDelay", scaling.queue_delay)
    if "timeout" in given:
        endpoint.execution_timeout = given["timeout"] / 1000


def _worker(endpoint: Endpoint, worker: Worker, image: str | None) -> Record:
    started = worker.started
    return {
        "id": worker.id,
        "status": worker.state.value,
        "isStale": False,
        "version": 1,
        "gpuCount": 1,
        "image": image,
        "uptimeSeconds": None if started is None else int(endpoint.clock.now() - started),
        "gpuTypeId": None if started is None or endpoint.pool not in POOLS else POOLS[endpoint.pool][1],
        "dataCenterId": None if started is None else DATA_CENTERS[0],
        "startedAt": None if started is None else iso(started),
    }
