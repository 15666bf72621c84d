"""`snakefold worker`: the worker, behind whatever brings it its jobs."""

from __future__ import annotations

import argparse
from pathlib import Path

from snakefold.cli._command import Commands, command

ADAPTERS = ("runpod", "http", "queue")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "worker",
        _worker,
        summary="do jobs that RunPod, HTTP requests or a queue bring; Ctrl-C stops it",
        example="snakefold worker --adapter queue --tries 3",
    )
    parser.add_argument(
        "--adapter",
        choices=ADAPTERS,
        default="runpod",
        help="runpod: an endpoint's loop; http: as snakefold serve; queue: Redis at $SNAKEFOLD_QUEUE_URL",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="http: settings, as of snakefold serve")
    parser.add_argument(
        "--tries", type=int, default=3, metavar="N", help="queue: deliveries of a job before it is set aside"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="queue: silence after which a worker is taken to be dead",
    )


def _worker(options: argparse.Namespace) -> int:
    from snakefold.kernel.errors import ConfigError

    if options.adapter == "http":
        from snakefold.service.server import serve
        from snakefold.service.settings import read_settings

        serve(read_settings(options.config, {}), routes=True)
        return 0
    if options.adapter == "runpod":
        from snakefold.worker.handler import main

        return main([])
    if options.tries < 1 or options.patience <= 0:
        raise ConfigError("--tries: expected 1 or more; --patience: more than 0 seconds.")
    from snakefold.worker import jobs
    from snakefold.worker.consumer import consume, read_queue_settings
    from snakefold.worker.ready import check_ready
    from snakefold.worker.settings import read_settings as worker_settings

    settings = read_queue_settings(options.tries, options.patience)
    check_ready(worker_settings())
    consume(settings, jobs.answer, lambda line: print(line, flush=True))
    return 0
