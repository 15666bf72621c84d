"""Data that travels in script files: a page opened from a disk may load scripts, but nothing else.

Everything is JSON in pure ASCII without `<`, `>` and `&`, so that it can neither end a script element nor
start one, wherever it is pasted. Large arrays and texts are gzip in base64 (the page unpacks them with
`DecompressionStream`).
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def script_json(value: Any) -> str:
    """`value` as a JavaScript expression.

    Raises:
        ValueError: NaN or an infinity, which JSON does not have.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def script_call(function: str, *values: Any) -> bytes:
    """A script file that hands `values` to a function of the page."""
    return f"{function}({','.join(map(script_json, values))});\n".encode("ascii")


def packed(data: bytes) -> str:
    """Bytes as base64 of gzip; equal bytes give equal text."""
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode("ascii")
