"""A web server on this machine that serves files by host and path, and misbehaves on order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Answers one request in place of the page.
Fault = Callable[["Handler", "Page"], None]


@dataclass
class Page:
    """One file; `faults` are taken one by one, a request each, before it is served as it should be."""

    content: bytes
    etag: str | None = '"one"'
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


@dataclass
class Site:
    """`pages` by path; `asked` has method, path and Range of every request."""

    address: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def put(self, url: str, content: bytes, **options: Any) -> Page:
        """Serve `content` where `--mirror` looks for `url`."""
        page = Page(content, **options)
        self.pages["/" + url.partition("://")[2]] = page
        return page

    def page(self, name: str) -> Page:
        return next(page for path, page in self.pages.items() if path.endswith(f"/{name}"))

    def gets(self) -> list[tuple[str, str]]:
        """File names and ranges of the requests for content."""
        return [(path.rsplit("/", 1)[-1], asked) for method, path, asked in self.asked if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    """Honours Range and If-Range."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        page = self._page()
        if page is not None:
            self.start(200, len(page.content), page)

    def do_GET(self) -> None:
        page = self._page()
        if page is None:
            return
        if page.faults:
            page.faults.pop(0)(self, page)
            return
        self.serve(page)

    def serve(self, page: Page, *, announce: int | None = None, only: int | None = None) -> None:
        """Send what was asked for; of that `only` so many bytes, and `announce` another length."""
        offset = self.offset(page)
        if offset is not None and offset >= len(page.content):
            self.start(416, 0, page)
            return
        rest = page.content[offset or 0 :]
        length = len(rest) if announce is None else announce
        extra = {}
        if offset is not None:
            extra["Content-Range"] = f"bytes {offset}-{len(page.content) - 1}/{len(page.content)}"
        self.start(200 if offset is None else 206, length, page, extra)
        self.wfile.write(rest if only is None else rest[:only])
        self.close_connection = announce is not None or only is not None

    def offset(self, page: Page) -> int | None:
        asked = self.headers.get("Range")
        validator = page.etag or page.headers.get("Last-Modified", "never")
        if not asked or not page.ranges or self.headers.get("If-Range") != validator:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def start(self, status: int, length: int, page: Page, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if page.etag:
            self.send_header("ETag", page.etag)
        for name, value in {**page.headers, **(extra or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def _page(self) -> Page | None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        site.asked.append((self.command, self.path, self.headers.get("Range", "")))
        # A proxy is asked for whole addresses.
        page = site.pages.get(self.path.removeprefix("http:/") if "://" in self.path else self.path)
        if page is None:
            self.send_error(404)
        return page

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def breaks_off(after: int) -> Fault:
    """The connection ends after so many bytes."""
    return lambda handler, page: handler.serve(page, only=after)


def lies(length: int) -> Fault:
    """Another length is announced than is sent."""
    return lambda handler, page: handler.serve(page, announce=length, only=length)


def status(code: int) -> Fault:
    """An error in place of the file."""
    return lambda handler, _: handler.send_error(code)


def stalls(after: int, until: threading.Event | None = None) -> Fault:
    """Some bytes, then silence until the client has gone, or until the connection may end."""

    def fault(handler: Handler, page: Page) -> None:
        handler.start(200, len(page.content), page)
        handler.wfile.write(page.content[:after])
        handler.wfile.flush()
        if until is None:
            handler.rfile.read(1)
        else:
            until.wait()
        handler.close_connection = True

    return fault


def changes(after: int, content: bytes) -> Fault:
    """Breaks off, and is another file from then on."""

    def fault(handler: Handler, page: Page) -> None:
        handler.serve(page, only=after)
        page.content, page.etag = content, '"two"'

    return fault


@contextmanager
def serving() -> Iterator[Site]:
    """A site on a port of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        site = Site(f"http://127.0.0.1:{server.server_port}")
        server.site = site  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield site
        server.shutdown()
