"""Structured logs: one JSON object a line on standard error, with the record and the user that it is of."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from datetime import UTC, datetime

from snakefold.worker.failures import without_secrets

#: Set while something is done for a record or a user.
record_id: contextvars.ContextVar[str] = contextvars.ContextVar("record_id", default="")
user_name: contextvars.ContextVar[str] = contextvars.ContextVar("user_name", default="")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "from": record.name.removeprefix("snakefold.service."),
            "message": record.getMessage(),
            "record": record_id.get(),
            "user": user_name.get(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        kept = {name: value for name, value in said.items() if value not in ("", None)}
        return without_secrets(json.dumps(kept, ensure_ascii=False, default=str))


def start_logging() -> None:
    """Let everything that this process logs be such lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
