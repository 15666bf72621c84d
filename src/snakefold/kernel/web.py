"""HTTP for addresses that a user's settings name; what a request names goes through `worker.fetch`."""

from __future__ import annotations

import functools
import ssl
from typing import Any

import httpx


def client(timeout: float, **settings: Any) -> httpx.Client:
    """A client of httpx that trusts what the system trusts, through the proxies that the environment names.

    Bodies come as they are stored (`iter_raw`): of a file that ends with .gz, some servers say that it is an
    encoding. Redirections are not followed unless `settings` say so.

    Args:
        timeout: seconds for a connection, and without a byte.
    """
    headers = {"User-Agent": "snakefold", "Accept-Encoding": "identity"}
    return httpx.Client(timeout=timeout, verify=_certificates(), headers=headers, **settings)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """httpx itself would take those of the package certifi, which know no authority of a site's own."""
    return ssl.create_default_context()
