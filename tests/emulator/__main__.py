"""python -m tests.emulator: the emulated service as a program, for people and for other languages."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import signal
import sys
from pathlib import Path

from .auth import API_KEY, NO_ACCESS_KEY, READ_ONLY_KEY
from .clock import Clock
from .faults import KINDS, Faults, read_faults
from .processes import ProcessWorkers
from .scaling import Scaling
from .service import Emulator
from .stubs import StubWorkers

_EXAMPLE = """
examples:
  python -m tests.emulator
      an endpoint `fold` whose stub workers return their input after a second
  python -m tests.emulator --port 8123 --endpoint fold='python -u -m snakefold.worker.handler' --workers-max 2
      the real worker loop around a real handler, at most two processes at once
  python -m tests.emulator --endpoint fold=stub:30 --speed 60 --faults faults.yaml
      stubs of 30 s on a clock sixty times as fast, with a script of faults

faults (rules of a script: {rules: [{what: NAME, call: run, nth: 2}], rates: {NAME: 0.01}, seed: 1}):
"""


def main(arguments: list[str] | None = None) -> int:
    options = _options().parse_args(arguments)
    try:
        faults = read_faults(options.faults) if options.faults else Faults()
        endpoints = dict(_endpoint(text, options) for text in options.endpoint or ["fold=stub"])
    except (OSError, ValueError) as error:
        print(f"emulator: {error}", file=sys.stderr)
        return 2
    service = Emulator(endpoints, clock=Clock(options.speed), faults=faults, port=options.port)
    try:
        asyncio.run(_serve(service))
    except OSError as error:
        print(f"emulator: cannot listen on 127.0.0.1:{options.port}: {error}", file=sys.stderr)
        return 2
    return 0


def _options() -> argparse.ArgumentParser:
    faults = "\n".join(f"  {name:15} {text}" for name, text in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.emulator",
        description="A RunPod Serverless service on this machine: nothing is rented, nothing is paid.",
        epilog=_EXAMPLE + faults,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8123, help="on 127.0.0.1; 0: any free one (8123)")
    parser.add_argument(
        "--endpoint",
        action="append",
        metavar="ID=WORKERS",
        help="its workers: stub, stub:SECONDS, or a command that ends in runpod.serverless.start",
    )
    parser.add_argument("--workers-max", type=int, default=3, help="workers of an endpoint at once (3)")
    parser.add_argument("--workers-min", type=int, default=0, help="workers that are always up (0)")
    parser.add_argument(
        "--idle-timeout", type=float, default=5.0, metavar="S", help="of a worker without jobs (5)"
    )
    parser.add_argument(
        "--queue-delay", type=float, default=4.0, metavar="S", help="wait that adds a worker (4)"
    )
    parser.add_argument(
        "--start", type=float, default=1.0, metavar="S", help="billed start of a stub worker (1)"
    )
    parser.add_argument(
        "--speed", type=float, default=1.0, help="of the clock, as a multiple of the wall's (1)"
    )
    parser.add_argument("--faults", type=Path, metavar="FILE", help="script of faults, YAML or JSON")
    return parser


def _endpoint(text: str, options: argparse.Namespace) -> tuple[str, dict[str, object]]:
    name, _, command = text.partition("=")
    if not name or not command:
        raise ValueError(f"--endpoint {text}: expected ID=WORKERS, as in fold=stub:30")
    workers: StubWorkers | ProcessWorkers
    if command.partition(":")[0] == "stub":
        workers = StubWorkers(seconds=float(command.partition(":")[2] or 1.0))
    else:
        words = shlex.split(command)
        if words[0] in ("python", "python3"):
            words[0] = sys.executable  # the one that has runpod, whatever PATH finds first
        workers = ProcessWorkers(words)
    scaling = Scaling(
        workers_min=options.workers_min,
        workers_max=options.workers_max,
        idle_timeout=options.idle_timeout,
        queue_delay=options.queue_delay,
        start_seconds=options.start,
    )
    return name, {"workers": workers, "scaling": scaling}


async def _serve(service: Emulator) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with service:
        print(_table(service), flush=True)
        await stop.wait()
        print("stopping: workers are ended", file=sys.stderr, flush=True)
    for name, endpoint in service.endpoints.items():
        print(f"{name}: {len(endpoint.jobs.records)} jobs, {endpoint.billed_seconds()} s billed", flush=True)


def _table(service: Emulator) -> str:
    rows = [
        ("page", f"{service.root}/"),
        ("jobs API", f"{service.url}    (in place of https://api.runpod.ai/v2)"),
        ("management API", f"{service.management_url}    (in place of https://api.runpod.io/v2)"),
        ("API key", f"{API_KEY}    (read only: {READ_ONLY_KEY}; refused with 403: {NO_ACCESS_KEY})"),
    ]
    for name, endpoint in service.endpoints.items():
        workers = endpoint.backend
        what = shlex.join(workers.command) if isinstance(workers, ProcessWorkers) else "stub"
        rows.append((f"endpoint {name}", f"{what}, {endpoint.scaling.workers_max} workers at most"))
        if isinstance(workers, ProcessWorkers):
            rows.append(("", f"logs in {workers.folder}"))
    return "\n".join(f"{title:16} {text}" for title, text in rows)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
