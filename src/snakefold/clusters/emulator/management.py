"""Management API v2 over HTTP: who may do what, bodies, answers and problems."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from snakefold.clusters.emulator import management_models as models
from snakefold.clusters.emulator.account import Account, Problem, refusal
from snakefold.clusters.emulator.billing import billing, log_stream
from snakefold.clusters.emulator.management_models import data_centers, gpus

B = TypeVar("B", bound=models.Body)
Perform = Callable[[web.Request], Awaitable[Any]]


class Management:
    """Takes the calls to `/management/v2`."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._service = account.service

    def routes(self, router: web.UrlDispatcher) -> None:
        account = self._account
        table: list[tuple[str, str, Perform]] = [
            ("GET", "/templates", _list("templates", lambda: list(account.templates.values()))),
            ("POST", "/templates", _create(account.create_template, models.CreateTemplate)),
            ("GET", "/templates/{id}", _get(account.template)),
            (
                "PATCH",
                "/templates/{id}",
                _update(account.template, account.update_template, models.UpdateTemplate),
            ),
            ("DELETE", "/templates/{id}", _get(account.delete_template)),
            ("GET", "/serverless", _list("endpoints", account.endpoint_records)),
            ("POST", "/serverless", _create(account.create_endpoint, models.CreateEndpoint)),
            ("GET", "/serverless/{id}", _get(lambda name: account.endpoint_record(account.endpoint(name)))),
            (
                "PATCH",
                "/serverless/{id}",
                _update(account.endpoint, account.update_endpoint, models.UpdateEndpoint),
            ),
            ("DELETE", "/serverless/{id}", self._delete_endpoint),
            ("GET", "/serverless/{id}/workers", _get(account.worker_records)),
            ("GET", "/serverless/{id}/workers/{worker}/logs", self._logs),
            ("GET", "/network-volumes", _list("networkVolumes", lambda: list(account.volumes.values()))),
            ("POST", "/network-volumes", _create(account.create_volume, models.CreateVolume)),
            ("GET", "/network-volumes/{id}", _get(account.volume)),
            (
                "PATCH",
                "/network-volumes/{id}",
                _update(account.volume, account.update_volume, models.UpdateVolume),
            ),
            ("DELETE", "/network-volumes/{id}", _get(account.delete_volume)),
            ("GET", "/catalog/gpus", _list("gpus", gpus)),
            ("GET", "/catalog/datacenters", _list("dataCenters", data_centers)),
            ("GET", "/billing/serverless", self._billing),
            # Not in the published API: assumed.
            ("GET", "/account/limits", self._limits),
            ("GET", "/account/secrets", _list("secrets", account.secret_records)),
        ]
        for method, path, perform in table:
            router.add_route(method, f"/management/v2{path}", self._guarded(path, perform))

    def _guarded(self, path: str, perform: Perform) -> Any:
        async def handle(request: web.Request) -> web.Response:
            write = request.method != "GET"
            refused = refusal(self._service.keys, request.headers.get("Authorization"), write=write)
            try:
                if path in self._account.refused:
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

    async def _delete_endpoint(self, request: web.Request) -> None:
        await self._account.delete_endpoint(request.match_info["id"])

    async def _billing(self, request: web.Request) -> Any:
        try:
            return billing(self._service.endpoints, request.query, self._service.clock.now())
        except ValueError as error:
            raise Problem(400, str(error)) from error

    async def _logs(self, request: web.Request) -> Any:
        endpoint, name = self._account.endpoint(request.match_info["id"]), request.match_info["worker"]
        if name not in endpoint.workers:
            raise Problem(404, f"worker {name} not found")
        tail = request.query.get("tail", "100")
        if not tail.isdecimal():
            raise Problem(400, "tail must be a number of lines")
        text = log_stream(endpoint.backend.log(name), int(tail), self._service.clock.now())
        return web.Response(text=text, content_type="text/event-stream")

    async def _limits(self, _: web.Request) -> Any:
        return self._account.limits_record()


def _list(name: str, items: Callable[[], list[Any]]) -> Perform:
    async def perform(_: web.Request) -> Any:
        return {name: items()}

    return perform


def _get(act: Callable[[str], Any]) -> Perform:
    """Also for what is deleted: all that is given is the id."""

    async def perform(request: web.Request) -> Any:
        return act(request.match_info["id"])

    return perform


def _create(create: Callable[[B], Any], model: type[B]) -> Perform:
    async def perform(request: web.Request) -> Any:
        return create(await _read(request, model))

    return perform


def _update(find: Callable[[str], Any], update: Callable[[str, B], Any], model: type[B]) -> Perform:
    async def perform(request: web.Request) -> Any:
        name = request.match_info["id"]
        find(name)  # what is not there is told before what is wrong with the body
        return update(name, await _read(request, model))

    return perform


async def _read(request: web.Request, model: type[B]) -> B:
    try:
        return model.model_validate(json.loads(await request.read()))
    except ValidationError as error:
        errors = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise Problem(422, "the body does not fit its schema", errors) from error
    except ValueError as error:
        raise Problem(400, "the body is not valid JSON") from error


def _title(status: int) -> str:
    return {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}.get(
        status, "Unprocessable Entity"
    )
