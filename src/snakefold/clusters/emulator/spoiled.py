"""Outputs with something wrong in them, in otherwise good answers."""

from __future__ import annotations

import base64
from typing import Any


def wrong_sha256(value: Any) -> Any:
    """Every sha256 in it replaced."""
    if isinstance(value, dict):
        return {
            key: ("0" * 64 if "sha256" in str(key) and isinstance(inner, str) else wrong_sha256(inner))
            for key, inner in value.items()
        }
    return [wrong_sha256(inner) for inner in value] if isinstance(value, list) else value


def corrupted(output: Any) -> Any:
    """A byte of its longest string changed; of what the string encodes, where that is base64."""
    longest = max(_strings(output), key=len, default="")
    if not longest:
        return output
    try:
        data = bytearray(base64.b64decode(longest, validate=True))
        data[len(data) // 2] ^= 0xFF
        changed = base64.b64encode(data).decode()
    except (ValueError, IndexError):
        middle = len(longest) // 2
        changed = longest[:middle] + chr(ord(longest[middle]) ^ 1) + longest[middle + 1 :]
    return _replaced(output, longest, changed)


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _strings(item)]


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, old, new) for inner in value]
    return new if value == old else value
