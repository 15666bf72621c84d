"""Fetching parameters, against a local HTTP server that behaves badly on purpose."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from snakefold.engines.alphafold2.weights import fetch
from snakefold.kernel.download import DownloadError, Expected, download
from snakefold.kernel.errors import WeightsMissingError

CONTENT = bytes(range(256)) * 4096


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    content: bytes = CONTENT
    etag: str | None = '"one"'
    break_after: list[int] = field(default_factory=list)
    ranges: bool = True
    announced: int | None = None
    md5: str | None = None
    status: int = 200
    asked: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Serves `server.behaviour`: breaks off where told, honours Range and If-Range if told."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        does: Behaviour = self.server.behaviour  # type: ignore[attr-defined]
        asked = self.headers.get("Range", "")
        does.asked.append(asked)
        if does.status != 200:
            self.send_error(does.status)
            return
        start = 0
        if asked and does.ranges and self.headers.get("If-Range") == does.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(does.content):
                self.send_error(416)
                return
        rest = does.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(does.content) - 1}/{len(does.content)}")
        self.send_header("Content-Length", str(does.announced or len(rest)))
        if does.etag:
            self.send_header("ETag", does.etag)
        if does.md5:
            self.send_header("x-goog-hash", "crc32c=AAAAAA==")
            self.send_header("x-goog-hash", f"md5={does.md5}")
        self.end_headers()
        if does.break_after:
            rest = rest[: does.break_after.pop(0)]
            self.close_connection = True
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, Behaviour]]:
    """Address of a file, and the behaviour behind it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.behaviour = Behaviour()  # type: ignore[attr-defined]
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/params.tar", running.behaviour  # type: ignore[attr-defined]
        running.shutdown()


def get(url: str, path: Path, expected: Expected | None = None, timeout: float = 600) -> None:
    download(url, path, expected, timeout=timeout, pause=0.001)


def test_a_file_arrives_whole(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    seen: list[tuple[int, int | None]] = []
    download(url, tmp_path / "file", progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_breaks_are_continued_from_where_they_were(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    does.break_after = [1000, 50_000, 7]
    get(url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert does.asked == ["", "bytes=1000-", "bytes=51000-", "bytes=51007-"]


def test_a_later_call_goes_on(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    does.break_after = [1000, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="broke off at 1000 bytes"):
        get(url, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    get(url, tmp_path / "file")
    assert does.asked[-1] == "bytes=1000-"
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_read_anew(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    does.break_after = [1000, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        get(url, tmp_path / "file")
    does.content, does.etag = CONTENT[::-1], '"two"'
    get(url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_is_read_anew(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    does.ranges, does.break_after = False, [1000]
    get(url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_removed(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    with pytest.raises(DownloadError, match="sha256"):
        get(url, tmp_path / "file", Expected(len(CONTENT), "0" * 64))
    assert list(tmp_path.iterdir()) == []


def test_the_right_sha256_is_accepted(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    get(url, tmp_path / "file", Expected(len(CONTENT), hashlib.sha256(CONTENT).hexdigest()))
    assert (tmp_path / "file").is_file()


def test_the_md5_that_the_server_announces_is_checked(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    does.md5 = base64.b64encode(hashlib.md5(b"another file").digest()).decode()  # noqa: S324
    with pytest.raises(DownloadError, match="MD5"):
        get(url, tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_another_size_than_expected_is_refused(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    with pytest.raises(DownloadError, match=f"{len(CONTENT)} bytes arrived, expected 12"):
        get(url, tmp_path / "file", Expected(bytes=12))


def test_a_server_that_promises_too_much_is_given_up(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    does.announced, does.etag = len(CONTENT) + 10, None
    does.break_after = [len(CONTENT)] * 20
    with pytest.raises(DownloadError, match="broke off"):
        get(url, tmp_path / "file")


def test_a_missing_file_is_not_asked_for_again(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    does.status = 404
    with pytest.raises(DownloadError, match="mirror"):
        get(url, tmp_path / "file")
    assert len(does.asked) == 1


def test_only_http_addresses_are_taken(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="https://"):
        get("file:///etc/passwd", tmp_path / "file")


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{"alphafold//weights": np.arange(1000.0)})
    return stream.getvalue()


def tar(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("params_model_9.npz")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return stream.getvalue()


def test_fetch_unpacks_only_the_models_wanted(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    does.content = tar(
        {"./params_model_1.npz": npz(), "../../params_model_2.npz": npz(), "LICENSE": b"CC BY"}
    )
    lines: list[str] = []
    files = fetch(tmp_path / "w", url, ["model_1", "model_2"], lines.append)
    assert sorted(path.name for path in (tmp_path / "w").rglob("*")) == [
        "params",
        "params_model_1.npz",
        "params_model_2.npz",
    ]
    assert np.load(files[0])["alphafold//weights"].shape == (1000,)
    assert any("100%" in line for line in lines)
    does.status = 404
    assert fetch(tmp_path / "w", url, ["model_1"]) == files[:1]


def test_fetch_names_a_model_that_the_archive_lacks(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    does.content = tar({"params_model_1.npz": npz()})
    with pytest.raises(WeightsMissingError, match=r"lacks params_model_2\.npz"):
        fetch(tmp_path, url, ["model_1", "model_2"])


def test_fetch_refuses_a_damaged_model(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    whole = npz()
    does.content = tar({"params_model_1.npz": whole[:500] + bytes([whole[500] ^ 1]) + whole[501:]})
    with pytest.raises(WeightsMissingError, match=r"params_model_1\.npz is damaged"):
        fetch(tmp_path, url, ["model_1"])
    assert not (tmp_path / "params" / "params_model_1.npz").exists()


def test_fetch_refuses_what_is_no_archive(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    with pytest.raises(WeightsMissingError, match="cannot be unpacked"):
        fetch(tmp_path, url, ["model_1"])
