"""The PDB's entries as AlphaFold reads them: one folder of mmCIF files.

wwPDB publishes no archive of them. Its list of current files (holdings/current_file_holdings.json.gz) names
every entry's file; those that are not on the disk yet are fetched side by side, over lasting connections.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import httpx

from snakefold.kernel import web
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
    stopped = threading.Event()

    def get(entry: str) -> bool:
        if stopped.is_set():
            return True
        data = _get(client, base + entries[entry], partial(_wait, stopped, pause))
        if data is None:
            return False
        write_atomically(folder / f"{entry}.cif", data)
        return True

    with web.client(timeout) as client, ThreadPoolExecutor(CONNECTIONS) as pool:
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


def _get(client: httpx.Client, url: str, wait: Callable[[int], None]) -> bytes | None:
    """Decompressed content of one file; None if the server has it no more."""
    problem: object = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            wait(attempt)
        try:
            with client.stream("GET", url) as answer:
                body = b"".join(answer.iter_raw())
            if answer.status_code == httpx.codes.NOT_FOUND:
                return None
            if answer.status_code == httpx.codes.OK:
                return gzip.decompress(body)
            problem = f"status {answer.status_code}"
        except (OSError, EOFError, zlib.error, httpx.TransportError) as error:
            problem = error
    raise DownloadError(f"{url}: {problem}. Run the command again to resume, or name a --mirror.")
