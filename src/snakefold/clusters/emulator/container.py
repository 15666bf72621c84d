"""Run a command as a container would: when it ends, or its keeper does, nothing that it started is left.

    python -I -S container.py COMMAND [ARGUMENT …]

Standard input is a pipe that the keeper holds open: at its end everything is killed, so also when the keeper
is killed itself. SIGTERM is passed on, with a grace of five seconds. Exits with the command's status.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

GRACE = 5.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main(command: list[str]) -> int:
    libc = ctypes.CDLL(None)
    # Descendants that leave their group or lose their parent stay ours, and can be found and killed.
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake, poke = os.pipe()
    os.set_blocking(poke, False)
    signal.set_wakeup_fd(poke)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509 (one thread)
    )
    deadline = None
    while child.poll() is None:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select([wake, *([] if deadline else [sys.stdin.fileno()])], [], [], wait)
        if not readable:
            break
        if sys.stdin.fileno() in readable:
            break
        if {signal.SIGTERM, signal.SIGINT} & set(os.read(wake, 64)):
            child.send_signal(signal.SIGTERM)
            deadline = deadline or time.monotonic() + GRACE
    kill_descendants()
    return child.returncode if child.returncode is not None else -signal.SIGKILL


def kill_descendants() -> None:
    """Kill until there is no child left to wait for; orphans of the killed become ours in turn."""
    while True:
        for process in os.listdir("/proc"):  # noqa: PTH208 (pathlib is slow to import)
            if process.isdigit() and parent(process) == os.getpid():
                try:
                    os.kill(int(process), signal.SIGKILL)
                except ProcessLookupError:
                    continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def parent(process: str) -> int:
    try:
        with open(f"/proc/{process}/stat", "rb") as stat:  # noqa: PTH123 (likewise)
            return int(stat.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.exit(status if status >= 0 else 128 - status)
