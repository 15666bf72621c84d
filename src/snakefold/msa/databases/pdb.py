"""The PDB's entries as AlphaFold reads them: one folder of mmCIF files.

wwPDB publishes no archive of them. Its list of current files (holdings/current_file_holdings.json.gz) names
every entry's file; those that are not on the disk yet are fetched side by side, over lasting connections.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import threading
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from snakefold.kernel.download import DownloadError
from snakefold.kernel.store.atomic import write_atomically

#: Polite to a public server, and enough to hide its latency.
CONNECTIONS = 8
_ATTEMPTS = 5
_ENTRY = re.compile(r"/pub/pdb/data/structures/divided/mmCIF/[0-9a-z]{2}/([0-9a-z_]{4,16})\.cif\.gz")


def listed(holdings: bytes) -> dict[str, str]:
    """Path on the server of every mmCIF file, by lower-case entry id.

    Args:
        holdings: JSON, {entry: {"mmcif": ["/pub/pdb/…/100d.cif.gz"], …}}.

    Raises:
        ValueError: it is something else.
    """
    try:
        entries = json.loads(holdings)
        paths = [path for kinds in entries.values() for path in kinds.get("mmcif", [])]
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"expected wwPDB's list of entries and their files ({error})") from error
    found = {match[1]: path for path in paths if isinstance(path, str) and (match := _ENTRY.fullmatch(path))}
    if not found:
        raise ValueError("the list names no mmCIF file")
    return found


def fetch(
    base: str,
    entries: Mapping[str, str],
    folder: Path,
    progress: Callable[[int, int], None],
    *,
    timeout: float = 60,
    pause: float = 2.0,
) -> list[str]:
    """Write `<entry>.cif` into `folder` for every entry that is not there.

    Args:
        base: address before the paths in `entries`.
        progress: called with the number of files there and in all.
        pause: seconds before the first new attempt at a file, doubled each time.

    Returns:
        Entries that the server does not have (404): they went obsolete since the list was made.

    Raises:
        DownloadError: a file could not be had; the others stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    present = {path.stem for path in folder.glob("*.cif")}
    missing = sorted(set(entries) - present)
    done, gone = len(entries) - len(missing), []
    local, stopped = threading.local(), threading.Event()

    def get(entry: str) -> bool:
        if stopped.is_set():
            return True
        data = _get(local, base, entries[entry], timeout, partial(_wait, stopped, pause))
        if data is None:
            return False
        write_atomically(folder / f"{entry}.cif", data)
        return True

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        try:
            for entry, future in _in_order(pool, get, missing):
                if not future.result():
                    gone.append(entry)
                done += 1
                progress(done, len(entries))
        finally:
            stopped.set()
    return gone


def _in_order(
    pool: ThreadPoolExecutor, get: Callable[[str], bool], names: list[str]
) -> Iterator[tuple[str, Future[bool]]]:
    """Submit a few at a time: Ctrl-C would wait until two hundred thousand futures had been looked at."""
    waiting: dict[Future[bool], str] = {}
    rest = iter(names)
    while True:
        while len(waiting) < 4 * CONNECTIONS and (name := next(rest, None)) is not None:
            waiting[pool.submit(get, name)] = name
        if not waiting:
            return
        finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in finished:
            yield waiting.pop(future), future


def _wait(stopped: threading.Event, pause: float, attempt: int) -> None:
    if stopped.wait(pause * 2 ** (attempt - 1)):
        raise DownloadError("stopped")


def _get(
    local: threading.local, base: str, path: str, timeout: float, wait: Callable[[int], None]
) -> bytes | None:
    """Decompressed content of one file; None if the server has it no more."""
    problem: object = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            wait(attempt)
        try:
            status, body = _ask(local, base, path, timeout)
            if status == http.HTTPStatus.NOT_FOUND:
                return None
            if status == http.HTTPStatus.OK:
                return gzip.decompress(body)
            problem = f"status {status}"
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            local.connection = None
            problem = error
    raise DownloadError(f"{base}{path}: {problem}. Run the command again to resume, or name a --mirror.")


def _ask(local: threading.local, base: str, path: str, timeout: float) -> tuple[int, bytes]:
    parts = urlsplit(base)
    connection = getattr(local, "connection", None)
    proxy = _proxy(parts.scheme, parts.hostname or "")
    if connection is None:
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = local.connection = kind(proxy or parts.netloc, timeout=timeout)
        if proxy and parts.scheme == "https":
            connection.set_tunnel(parts.hostname or "", parts.port)
    through = f"http://{parts.netloc}" if proxy and parts.scheme == "http" else ""
    connection.request("GET", f"{through}{parts.path}{path}")
    answer = connection.getresponse()
    return answer.status, answer.read()


def _proxy(scheme: str, host: str) -> str | None:
    """Host and port of the proxy that the environment names (https_proxy, no_proxy), if any."""
    address = urllib.request.getproxies().get(scheme)
    if address is None or urllib.request.proxy_bypass(host):
        return None
    return urlsplit(address if "://" in address else f"http://{address}").netloc.rpartition("@")[2]
