"""What an endpoint can be asked: operations by name, each with its HTTP method."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from snakefold.clusters.emulator.endpoint import Endpoint

Perform = Callable[[Endpoint, web.Request, str], Awaitable[web.Response]]


@dataclass(frozen=True)
class Operation:
    """`of_job`: a job's id follows its name in the address."""

    method: str
    of_job: bool
    perform: Perform


class Operations(dict[str, Operation]):
    """Operations of one API, by name."""

    def add(self, name: str, method: str, *, of_job: bool = False) -> Callable[[Perform], Perform]:
        """Decorates the function that performs it."""

        def keep(perform: Perform) -> Perform:
            self[name] = Operation(method, of_job, perform)
            return perform

        return keep


def answer(body: Any, status: int = 200) -> web.Response:
    """JSON."""
    return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/json")


def problem(status: int, text: str) -> web.Response:
    """An error, as the emulator words them."""
    return answer({"error": text}, status)
