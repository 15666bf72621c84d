"""A small handler in the SDK's own loop: what a worker can do, by `kind` of the input."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import runpod  # type: ignore[import-untyped]


async def handler(job: dict[str, Any]) -> Any:
    given = job["input"]
    kind = given["kind"]
    if kind == "ok":
        return {"echo": given, "worker": os.environ["RUNPOD_POD_ID"], "pid": os.getpid()}
    if kind == "error":
        return {"error": "the input is bad"}
    if kind == "raise":
        raise ValueError("the handler broke")
    if kind == "progress":
        runpod.serverless.progress_update(job, {"done": 1})
        while not Path(given["seen"]).exists():  # an update that comes late would take the result's place
            await asyncio.sleep(0.05)
        return {"done": 2}
    if kind == "refresh":
        return {"refresh_worker": True, "worker": os.environ["RUNPOD_POD_ID"]}
    if kind == "big":
        return {"data": "x" * given["bytes"]}
    if kind == "exit":
        os._exit(3)
    if kind == "sleep":
        return await _sleep(given)
    raise ValueError(f"no kind {kind}")


async def _sleep(given: dict[str, Any]) -> str:
    """Sleeps beside a child in a session of its own, which only the end of the worker can end."""
    child = await asyncio.create_subprocess_exec("sleep", "1000", start_new_session=True)
    Path(given["pids"]).write_text(f"{os.getpid()} {child.pid}")
    try:
        await asyncio.sleep(given["seconds"])
    except asyncio.CancelledError:
        Path(given["cancelled"]).touch()
        raise
    return "slept"


async def streaming(job: dict[str, Any]) -> Any:
    for number in range(job["input"]["chunks"]):
        yield {"chunk": number}


if __name__ == "__main__":
    stream = os.environ.get("SMALL_HANDLER") == "streaming"
    runpod.serverless.start({"handler": streaming if stream else handler, "return_aggregate_stream": stream})
