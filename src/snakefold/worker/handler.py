"""The handler of a RunPod Serverless endpoint, for every contract of `snakefold.worker.endpoints`.

    python -m snakefold.worker.handler               the loop: the container's first process
    python -m snakefold.worker.handler --self-test
    python -m snakefold.worker.handler --local input.fasta --rehearsal

The loop's process answers RunPod and does no work: that is done in a warm process of its own, which keeps
parameters and compiled programs from job to job and is killed, with all it started, when a job is cancelled.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from snakefold.kernel.errors import SnakefoldError
from snakefold.worker.failures import without_secrets
from snakefold.worker.jobs import handler
from snakefold.worker.ready import check_ready
from snakefold.worker.settings import read_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the worker; 1 if it has nothing to work with (`ready.check_ready`)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if any(word in words for word in ("--self-test", "--local", "--help", "-h")):
        from snakefold.worker.selftest import main as by_hand

        return by_hand(words)
    # At its default level, DEBUG, the SDK prints whole jobs: sequences, and addresses that are passwords.
    os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")
    try:
        check_ready(read_settings())
    except SnakefoldError as error:
        print(f"handler: {without_secrets(str(error))}", file=sys.stderr, flush=True)
        return 1
    import runpod  # type: ignore[import-untyped]

    runpod.serverless.start({"handler": handler})
    return 0


if __name__ == "__main__":
    sys.exit(main())
