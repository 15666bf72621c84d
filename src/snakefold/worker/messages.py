"""Messages between the handler and its warm process: JSON, with its length in front."""

from __future__ import annotations

import json
import socket
import struct
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
