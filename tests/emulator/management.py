"""Management API v2: templates, serverless endpoints and their workers, network volumes, the GPU catalogue.

An endpoint created here takes jobs at once, on stub workers or what `Account.workers_for` makes of it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from . import management_models as models
from .auth import refusal
from .billing import billing, log_stream
from .endpoint import Endpoint
from .management_records import DATA_CENTERS, data_centers, gpus, iso, new_id, new_record
from .scaling import POOLS, Scaling, WorkerState
from .stubs import StubWorkers
from .worker import Backend, Worker

if TYPE_CHECKING:
    from .service import Emulator

B = TypeVar("B", bound=models.Body)
_CONTAINER = ("args", "disk", "env", "image", "ports", "registry")


class Problem(Exception):
    def __init__(self, status: int, detail: str, errors: list[str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, errors


@dataclasses.dataclass
class Account:
    """What the account of the emulated service holds, by id."""

    service: Emulator
    workers_for: Callable[[Mapping[str, Any]], Backend] = lambda record: StubWorkers()
    templates: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    endpoints: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    volumes: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    secrets: list[str] = dataclasses.field(default_factory=list)
    worker_quota: int | None = None  # of workersMax over all endpoints; None: no limit
    bound: dict[str, str] = dataclasses.field(default_factory=dict)  # endpoint id → template id
    # Where the documentation is silent, tests choose: the answer of /account/limits, paths that no key may
    # see, and whether an endpoint goes that may still start workers.
    limits: Any = None
    refused: set[str] = dataclasses.field(default_factory=set)
    keeps_what_may_start: bool = False

    def routes(self, router: web.UrlDispatcher) -> None:
        table: list[tuple[str, str, Callable[[web.Request], Awaitable[Any]]]] = [
            ("GET", "/templates", self._list("templates", lambda: list(self.templates.values()))),
            ("POST", "/templates", self._create_template),
            ("GET", "/templates/{id}", self._get(self.templates)),
            ("PATCH", "/templates/{id}", self._update_template),
            ("DELETE", "/templates/{id}", self._delete_template),
            ("GET", "/serverless", self._list("endpoints", self._endpoint_records)),
            ("POST", "/serverless", self._create_endpoint),
            ("GET", "/serverless/{id}", self._get_endpoint),
            ("PATCH", "/serverless/{id}", self._update_endpoint),
            ("DELETE", "/serverless/{id}", self._delete_endpoint),
            ("GET", "/serverless/{id}/workers", self._workers),
            ("GET", "/serverless/{id}/workers/{worker}/logs", self._logs),
            ("GET", "/network-volumes", self._list("networkVolumes", lambda: list(self.volumes.values()))),
            ("POST", "/network-volumes", self._create_volume),
            ("GET", "/network-volumes/{id}", self._get(self.volumes)),
            ("PATCH", "/network-volumes/{id}", self._update_volume),
            ("DELETE", "/network-volumes/{id}", self._delete_volume),
            ("GET", "/catalog/gpus", self._list("gpus", gpus)),
            ("GET", "/catalog/datacenters", self._list("dataCenters", data_centers)),
            ("GET", "/billing/serverless", self._billing),
            # Not in the published API: assumed.
            ("GET", "/account/limits", self._limits),
            ("GET", "/account/secrets", self._list("secrets", self._secrets)),
        ]
        for method, path, perform in table:
            router.add_route(method, f"/management/v2{path}", self._guarded(path, perform))

    def _guarded(self, path: str, perform: Callable[[web.Request], Awaitable[Any]]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            write = request.method != "GET"
            refused = refusal(self.service.keys, request.headers.get("Authorization"), write=write)
            try:
                if path in self.refused:
                    refused = refused or 403
                if refused is not None:
                    raise Problem(refused, "the API key is missing, unknown, or may not do this")  # noqa: TRY301
                body = await perform(request)
            except Problem as problem:
                content = {
                    "title": _title(problem.status),
                    "status": problem.status,
                    "detail": problem.detail,
                }
                if problem.errors:
                    content["errors"] = problem.errors
                return web.json_response(
                    content, status=problem.status, content_type="application/problem+json"
                )
            if isinstance(body, web.Response):
                return body
            status = {"POST": 201, "DELETE": 204}.get(request.method, 200)
            return web.Response(status=204) if status == 204 else web.json_response(body, status=status)

        return handle

    @staticmethod
    def _list(name: str, items: Callable[[], list[Any]]) -> Callable[[web.Request], Awaitable[Any]]:
        async def perform(_: web.Request) -> Any:
            return {name: items()}

        return perform

    @staticmethod
    def _get(held: Mapping[str, Any]) -> Callable[[web.Request], Awaitable[Any]]:
        async def perform(request: web.Request) -> Any:
            return _found(held, request)

        return perform

    async def _billing(self, request: web.Request) -> Any:
        try:
            return billing(self.service.endpoints, request.query, self.service.clock.now())
        except ValueError as error:
            raise Problem(400, str(error)) from error

    async def _logs(self, request: web.Request) -> Any:
        endpoint, name = self._endpoint(request), request.match_info["worker"]
        if name not in endpoint.workers:
            raise Problem(404, f"worker {name} not found")
        tail = int(request.query.get("tail", 100))
        text = log_stream(endpoint.backend.log(name), tail, self.service.clock.now())
        return web.Response(text=text, content_type="text/event-stream")

    # The account: no page of the published API has these two paths, their answers are assumed.

    async def _limits(self, _: web.Request) -> Any:
        if self.limits is not None:
            return self.limits
        return {"serverlessWorkers": {"current": self._workers_max(), "limit": self.worker_quota}}

    def _secrets(self) -> list[dict[str, str]]:
        return [{"id": f"secret-{number}", "name": name} for number, name in enumerate(self.secrets)]

    def _workers_max(self, but: str = "") -> int:
        return sum(e.scaling.workers_max for e in self.service.endpoints.values() if e.id != but)

    def _keep_quota(self, given: Mapping[str, Any], endpoint: str = "") -> None:
        most = (given.get("workers") or {}).get("max", 0)
        if self.worker_quota is not None and self._workers_max(endpoint) + most > self.worker_quota:
            raise Problem(400, f"workers.max: the account may have {self.worker_quota} workers in all")

    # Templates

    async def _create_template(self, request: web.Request) -> Any:
        body = await _read(request, models.CreateTemplate)
        if any(template["name"] == body.name for template in self.templates.values()):
            raise Problem(400, f"a template named {body.name} exists")
        record = {"id": new_id(), **body.model_dump()}
        self.templates[record["id"]] = record
        return record

    async def _update_template(self, request: web.Request) -> Any:
        record = _found(self.templates, request)
        record.update((await _read(request, models.UpdateTemplate)).given())
        return record

    async def _delete_template(self, request: web.Request) -> None:
        record = _found(self.templates, request)
        if record["id"] in self.bound.values():
            raise Problem(400, "the template is bound to a serverless endpoint")
        del self.templates[record["id"]]

    # Endpoints

    def _endpoint_records(self) -> list[dict[str, Any]]:
        return [self._endpoint_record(endpoint) for endpoint in self.service.endpoints.values()]

    def _endpoint_record(self, endpoint: Endpoint) -> dict[str, Any]:
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

    def _endpoint(self, request: web.Request) -> Endpoint:
        endpoint = self.service.endpoints.get(request.match_info["id"])
        if endpoint is None:
            raise Problem(404, "endpoint not found")
        return endpoint

    async def _get_endpoint(self, request: web.Request) -> Any:
        return self._endpoint_record(self._endpoint(request))

    async def _create_endpoint(self, request: web.Request) -> Any:
        body = await _read(request, models.CreateEndpoint)
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
        self._apply_scaling(endpoint, body.model_dump())
        return self._endpoint_record(endpoint)

    async def _update_endpoint(self, request: web.Request) -> Any:
        endpoint = self._endpoint(request)
        body = await _read(request, models.UpdateEndpoint)
        record = self._endpoint_record(endpoint)
        if body.cpu is not None:
            raise Problem(400, "the compute family of an endpoint cannot be changed")
        self._keep_quota(body.given(), endpoint.id)
        self._apply(record, body)
        self._apply_scaling(endpoint, body.given())
        endpoint.scale()
        return self._endpoint_record(endpoint)

    async def _delete_endpoint(self, request: web.Request) -> None:
        endpoint = self._endpoint(request)
        if self.keeps_what_may_start and endpoint.scaling.workers_max:
            raise Problem(400, "workers.max must be 0 before an endpoint can be deleted")
        del self.service.endpoints[endpoint.id]
        self.endpoints.pop(endpoint.id, None)
        self.templates.pop(self.bound.pop(endpoint.id, ""), None)
        await endpoint.close()

    def _apply(self, record: dict[str, Any], body: models.UpdateEndpoint) -> None:
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
        volumes = given.get("networkVolumes", record["networkVolumes"])
        places = given.get("dataCenterIds", record["dataCenterIds"])
        for volume in volumes:
            if volume not in self.volumes:
                raise Problem(404, f"network volume {volume} not found")
            if places and self.volumes[volume]["dataCenter"] not in places:
                raise Problem(400, f"network volume {volume} is not in any of {', '.join(places)}")
        for name in ("name", "type", "dataCenterIds", "networkVolumes", "flashboot", *_CONTAINER):
            if name in given:
                record[name] = given[name]
        record["gpu"].update(given.get("gpu") or {})

    @staticmethod
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

    async def _workers(self, request: web.Request) -> Any:
        endpoint = self._endpoint(request)
        workers = [worker for worker in endpoint.workers.values() if not worker.gone]
        image = self._endpoint_record(endpoint)["image"] or None
        states = [state for state in WorkerState if state is not WorkerState.STOPPED]
        summary = {state.value.lower(): sum(w.state is state for w in workers) for state in states}
        return {
            "workers": [self._worker(endpoint, worker, image) for worker in workers],
            "summary": {**summary, "total": len(workers)},
            "endpointVersion": 1,
        }

    def _worker(self, endpoint: Endpoint, worker: Worker, image: str | None) -> dict[str, Any]:
        started = worker.started
        return {
            "id": worker.id,
            "status": worker.state.value,
            "isStale": False,
            "version": 1,
            "gpuCount": 1,
            "image": image,
            "uptimeSeconds": None if started is None else int(self.service.clock.now() - started),
            "gpuTypeId": None if started is None or endpoint.pool not in POOLS else POOLS[endpoint.pool][1],
            "dataCenterId": None if started is None else DATA_CENTERS[0],
            "startedAt": None if started is None else iso(started),
        }

    # Network volumes

    async def _create_volume(self, request: web.Request) -> Any:
        body = await _read(request, models.CreateVolume)
        if body.dataCenter not in DATA_CENTERS:
            raise Problem(400, f"no data centre {body.dataCenter}")
        record = {"id": new_id(), **body.model_dump()}
        self.volumes[record["id"]] = record
        return record

    async def _update_volume(self, request: web.Request) -> Any:
        record = _found(self.volumes, request)
        given = (await _read(request, models.UpdateVolume)).given()
        if given.get("size", record["size"]) < record["size"]:
            raise Problem(400, "the size of a network volume cannot be reduced")
        record.update(given)
        return record

    async def _delete_volume(self, request: web.Request) -> None:
        del self.volumes[_found(self.volumes, request)["id"]]


async def _read(request: web.Request, model: type[B]) -> B:
    try:
        return model.model_validate(json.loads(await request.read()))
    except ValidationError as error:
        errors = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise Problem(422, "the body does not fit its schema", errors) from error
    except ValueError as error:
        raise Problem(400, "the body is not valid JSON") from error


def _found(held: Mapping[str, dict[str, Any]], request: web.Request) -> dict[str, Any]:
    record = held.get(request.match_info["id"])
    if record is None:
        raise Problem(404, f"{request.match_info['id']} not found")
    return record


def _title(status: int) -> str:
    return {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}.get(
        status, "Unprocessable Entity"
    )
