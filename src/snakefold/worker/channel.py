"""What the handler and its warm process share: messages, and an end for everything that either started."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

#: The line after the last one that a task has printed.
END_OF_LOG = "\x1eend of log"

_HEAD = struct.Struct(">Q")


def send(channel: socket.socket, message: dict[str, Any]) -> None:
    """Send one message. Raises OSError if nobody is there."""
    data = json.dumps(message).encode()
    channel.sendall(_HEAD.pack(len(data)) + data)


def receive(channel: socket.socket) -> dict[str, Any] | None:
    """The next message; None at the end of the conversation."""
    head = _exactly(channel, _HEAD.size)
    if head is None:
        return None
    data = _exactly(channel, _HEAD.unpack(head)[0])
    if data is None:
        return None
    message: dict[str, Any] = json.loads(data)
    return message


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        try:
            block = channel.recv(min(size - len(data), 1 << 20))
        except ConnectionError:
            return None
        if not block:
            return None
        data += block
    return bytes(data)


_PATIENCE = 10.0


def members(session: int) -> list[int]:
    """Processes of a session that run."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):
            # The name, in parentheses, may hold anything; what follows it: state, parent, group, session.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z" and int(fields[3]) == session:
                found.append(int(entry.name))
    return found


def kill_session(session: int, spare: int | None = None) -> None:
    """SIGKILL every process of a session but one, until none is left."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        left = [process for process in members(session) if process != spare]
        if not left:
            return
        for process in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)
