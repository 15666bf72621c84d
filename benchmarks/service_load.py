"""Many users of the service at once, and how long a question for a job's state takes meanwhile.

    python benchmarks/service_load.py --out benchmarks/service_load.json

Twenty users submit ten jobs each at the same moment, and two workers do them (the job is a pause). Calls of
`/v2/fold/status/ID` alternate with calls of a FastAPI application that has one empty route; uvicorn serves it
with the same settings, in a process of its own. Promised, else the exit code is 1: nothing is lost, nothing
is done twice, and the 99th percentile of a status call is at most three times that of the empty route.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.service.load import TWO_WORKERS, Caller, accounts, all_ended, submit_at_once  # noqa: E402
from tests.service.running import serving, wait  # noqa: E402

from snakefold.service.users import User, add_token  # noqa: E402

_USERS, _EACH = 20, 10
#: Seconds of a job: long enough for the calls to be made while jobs wait, run and end.
_SECONDS = "0.3"
_PROMISED = 3.0


def serve_empty(number: int) -> None:
    """An application with an empty route, on a socket that is open already."""
    import uvicorn
    from fastapi import FastAPI

    from snakefold.service.server import config_of
    from snakefold.service.settings import ServiceSettings

    app = FastAPI()

    @app.get("/")
    async def empty() -> dict[str, str]:
        return {}

    listening = socket.socket(fileno=number)
    asyncio.run(uvicorn.Server(config_of(app, ServiceSettings())).serve(sockets=[listening]))


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    return round(statistics.quantiles(values, n=1000)[round(share * 1000) - 1] * 1000, 2)


def measure(seed: int) -> dict[str, Any]:
    """Submissions, calls, and what became of the jobs."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as listening:
        folder = Path(name)
        tokens = [add_token(folder / "tokens.yaml", User(user=f"user-{each}")) for each in range(_USERS)]
        settings = {"tokens": str(folder / "tokens.yaml"), "workers": TWO_WORKERS}
        number = listening.fileno()
        os.set_inheritable(number, True)
        empty = subprocess.Popen(
            [sys.executable, __file__, "--empty", str(number)], pass_fds=[number], stderr=subprocess.DEVNULL
        )
        with serving(folder, settings=settings, environment={"SECONDS_OF_JOBS": _SECONDS}) as server:
            begun = time.monotonic()
            submitted = submit_at_once(server, tokens, _EACH)
            took = time.monotonic() - begun
            folders = [server.folder / "jobs" / job for jobs in submitted.values() for job in jobs]
            callers = {token: Caller(server.port, token) for token in tokens}
            other = Caller(listening.getsockname()[1])
            other.seconds("/")
            status: list[float] = []
            nothing: list[float] = []
            while not all_ended(folders):
                token = chance.choice(tokens)
                path = f"/v2/fold/status/{chance.choice(submitted[token])}"
                status.append(callers[token].seconds(path))
                nothing.append(other.seconds("/"))
            wait(lambda: all_ended(folders))
            found = accounts(folders)
            server.stop()
        empty.terminate()
        empty.wait()
    return {
        "users": _USERS,
        "submissions": _USERS * _EACH,
        "submitted_within_seconds": round(took, 2),
        **found,
        "calls": len(status),
        "status_ms": {f"p{share * 100:g}": percentile(status, share) for share in (0.5, 0.9, 0.99)},
        "empty_ms": {f"p{share * 100:g}": percentile(nothing, share) for share in (0.5, 0.9, 0.99)},
        "ratio_p99": round(percentile(status, 0.99) / percentile(nothing, 0.99), 2),
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="file of the result")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--empty", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.empty is not None:
        serve_empty(options.empty)
        return 0
    result = measure(options.seed)
    text = json.dumps({"cores": os.cpu_count(), "seed": options.seed, **result}, indent=2) + "\n"
    if options.out:
        options.out.write_text(text)
    print(text, end="")
    kept = result["lost"] == result["twice"] == 0 and result["ratio_p99"] <= _PROMISED
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
