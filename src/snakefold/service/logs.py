"""Structured logs: one JSON object a line on standard error, with its request, record and user."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import secrets
import sqlite3
import sys
from datetime import UTC, datetime
from typing import Any

from redis import RedisError

from snakefold.worker.failures import without_secrets

#: Set while something is done for a request, a record or a user.
request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
record_id: contextvars.ContextVar[str] = contextvars.ContextVar("record_id", default="")
user_name: contextvars.ContextVar[str] = contextvars.ContextVar("user_name", default="")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_OUTAGE_SECONDS = 60.0
#: Tokens of this service, wherever somebody puts one: in a path, in place of a name.
_TOKEN = re.compile(r"\bsf_[A-Za-z0-9_-]{20,}")


def new_request() -> str:
    """Begin a request: its lines have a name of their own from here on."""
    name = secrets.token_hex(6)
    request_id.set(name)
    return name


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "from": record.name.removeprefix("snakefold.service."),
            "message": record.getMessage(),
            "request": request_id.get(),
            "record": record_id.get(),
            "user": user_name.get(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        kept = {name: value for name, value in said.items() if value not in ("", None)}
        return json.dumps({name: _shown(value) for name, value in kept.items()}, default=str)


def _shown(value: Any) -> Any:
    """A value of a line without what is secret, which is looked for before JSON disguises it."""
    return _TOKEN.sub("sf_***", without_secrets(value)) if isinstance(value, str) else value


class _Calm(logging.Filter):
    """While the queue cannot be reached, a line a minute says so: not a traceback at each try."""

    def __init__(self) -> None:
        super().__init__()
        self._told = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, RedisError | sqlite3.OperationalError):
            return True
        if record.created - self._told < _OUTAGE_SECONDS:
            return False
        self._told = record.created
        record.msg, record.args = f"the queue cannot be reached: {error}", ()
        record.exc_info = None
        return True


def start_logging() -> None:
    """Let everything that this process logs be such lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    handler.addFilter(_Calm())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    # What the service calls over HTTP is logged by whoever calls it, without queries of addresses.
    for name in ("httpx", "httpcore", "urllib3", "botocore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
