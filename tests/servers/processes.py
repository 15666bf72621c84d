"""What all servers need: ports that nobody has, and an end when the tests end."""

from __future__ import annotations

import shutil
import socket
from contextlib import ExitStack


def free_ports(number: int) -> list[int]:
    """Ports on loopback that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def ends_with_parent() -> list[str]:
    """Beginning of a command that a killed test run does not leave behind."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
