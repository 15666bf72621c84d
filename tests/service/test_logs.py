"""The log: one JSON object a line, with whose it is and without what is secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from snakefold.service import logs
from snakefold.service.logs import new_request, record_id, start_logging, user_name

PASSWORD = 'pass"word\\7'  # noqa: S105
TOKEN = "sf_" + "Ab-_9" * 8


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("SNAKEFOLD_REDIS_PASSWORD", PASSWORD)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    start_logging()
    yield stream
    root.handlers[:], root.level = before
    logging.captureWarnings(False)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_a_line_says_of_which_request_record_and_user_it_is(log: io.StringIO) -> None:
    name = new_request()
    user, record = user_name.set("ada"), record_id.set("a-record-of-hers")
    logging.getLogger("snakefold.service.work").info("begun", extra={"attempt": 2})
    record_id.reset(record)
    user_name.reset(user)
    logs.request_id.set("")
    logging.getLogger("other").warning("two\nlines")
    first, second = lines(log)
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "from": "work",
        "message": "begun",
        "request": name,
        "record": "a-record-of-hers",
        "user": "ada",
        "attempt": 2,
    }
    assert second.keys() == {"time", "level", "from", "message"}


@pytest.mark.parametrize(
    "text",
    [
        f"cannot connect: {PASSWORD}",
        f"redis://:{PASSWORD}@redis:6379/0 does not answer",
        f"/v2/fold/{TOKEN}/health",
        f"GET https://bucket.example/x?X-Amz-Signature={TOKEN[3:]}",
        f"http://ada:{TOKEN[3:]}@host/",
    ],
)
def test_no_secret_is_in_it(log: io.StringIO, text: str) -> None:
    logger = logging.getLogger("snakefold.service.guard")
    logger.info(text)
    logger.info("request", extra={"path": text})
    logger.error("failed", exc_info=RuntimeError(text))
    assert len(lines(log)) == 3
    for line in lines(log):
        said = "".join(map(str, line.values()))
        assert PASSWORD not in said
        assert TOKEN[3:] not in said
