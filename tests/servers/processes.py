"""What all servers need: ports that nobody has, and an end when the tests end."""

from __future__ import annotations

import fcntl
import random
import shutil
import socket
import tempfile
from pathlib import Path
from typing import IO

#: Below those that Linux gives to connections: a server finds its port free again whenever it starts.
_PORTS = range(15_000, 32_000)
_held: list[IO[str]] = []


def free_ports(number: int) -> list[int]:
    """Ports on loopback that are free, and this process's for as long as it lives: tests run side by side."""
    locks = Path(tempfile.gettempdir(), "snakefold-test-ports")
    locks.mkdir(exist_ok=True)
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        lock = (locks / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _held.append(lock)
        found.append(port)
        if len(found) == number:
            return found
    raise RuntimeError(f"{number} free ports were not found from {_PORTS.start} to {_PORTS.stop - 1}.")


def ends_with_parent() -> list[str]:
    """Beginning of a command that a killed test run does not leave behind."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
