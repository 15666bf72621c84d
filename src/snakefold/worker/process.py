"""The warm process: does one task after the other, and keeps parameters and compiled programs in between.

    python -m snakefold.worker.process CHANNEL LIFE

Both are numbers of inherited descriptors: a socket for messages, and a pipe at whose end the handler is gone.
What the process and its libraries print is the job's log.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from snakefold.worker.channel import END_OF_LOG, kill_session, receive, send


def main(channel: socket.socket) -> None:
    """Answer messages until the other side hangs up."""
    from snakefold.kernel.devices import take_device
    from snakefold.worker.failures import as_job_error
    from snakefold.worker.settings import read_settings
    from snakefold.worker.tasks import new_context, perform

    take_device(lambda line: print(line, file=sys.stderr, flush=True), shared=True)
    while (message := receive(channel)) is not None:
        try:
            context = new_context(read_settings())
            context.progress = lambda done, total: send(channel, {"progress": [done, total]})
            context.working_on = lambda recipe, keys: send(channel, _working_on(recipe, keys))
            answer: dict[str, Any] = {"output": perform(message["input"], context)}
        except Exception as error:
            failed = as_job_error(error)
            if str(failed.reason) == "internal":
                _print_traceback(error)
            answer = {"failed": {"reason": str(failed.reason), "message": failed.message}}
        sys.stderr.flush()
        print(END_OF_LOG, flush=True)
        send(channel, answer)


def _working_on(recipe: str, keys: Sequence[str]) -> dict[str, Any]:
    return {"working_on": {"recipe": recipe, "keys": list(keys)}}


def _print_traceback(error: BaseException) -> None:
    import traceback

    traceback.print_exception(error)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _end_with_the_handler(life: int) -> None:
    """A handler that is killed must not leave a process on its GPU. (PR_SET_PDEATHSIG is no help: it goes
    by the thread that started this process.)"""
    os.read(life, 1)
    kill_session(os.getsid(0), spare=os.getpid())
    os._exit(1)


if __name__ == "__main__":
    faulthandler.enable()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the handler's to deal with
    threading.Thread(target=_end_with_the_handler, args=(int(sys.argv[2]),), daemon=True).start()
    main(socket.socket(fileno=int(sys.argv[1])))
