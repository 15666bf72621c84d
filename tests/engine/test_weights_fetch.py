"""Fetching parameters, against a local HTTP server that behaves badly on purpose."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from snakefold.cli import main
from snakefold.engines.alphafold2.models import all_models
from snakefold.engines.alphafold2.parameters import rehearsal_mark
from snakefold.engines.alphafold2.weights import fetch, find, report_check
from snakefold.kernel.download import DownloadError, Expected, download
from snakefold.kernel.errors import WeightsMissingError
from tests.engine.toys import TOY_PARAMETERS

pytestmark = pytest.mark.usefixtures("toy_network")

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


def npz(fill: float = 0) -> bytes:
    """A file that is whole for the toy network."""
    stream = io.BytesIO()
    arrays = {key: np.full(shape, fill, np.float32) for key, shape in TOY_PARAMETERS.items()}
    np.savez(stream, **arrays)
    return stream.getvalue()


def flipped(whole: bytes) -> bytes:
    return whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]


def random_npz(blocks: int = 48) -> bytes:
    """The same with the mark of random parameters."""
    stream = io.BytesIO(npz())
    with zipfile.ZipFile(stream, "a") as archive:
        archive.comment = rehearsal_mark({"blocks": blocks, "seed": 0, "drawing": 2})
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
    assert np.load(files[0])["alphafold//weights"].shape == (3,)
    assert any("100%" in line for line in lines)
    does.status = 404
    assert fetch(tmp_path / "w", url, ["model_1"]) == files[:1]


def test_fetch_names_a_model_that_the_archive_lacks(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    does.content = tar({"params_model_1.npz": npz()})
    with pytest.raises(WeightsMissingError, match=r"lacks params_model_2\.npz"):
        fetch(tmp_path, url, ["model_1", "model_2"])


BAD_MEMBERS = {
    "flipped": (flipped(npz()), "the file is damaged"),
    "another": (npz()[:-40], "the file is damaged|cannot be read"),
    "random": (random_npz(), "random parameters"),
}


@pytest.mark.parametrize("bad", BAD_MEMBERS)
@pytest.mark.parametrize("before", [b"", npz()[:-30]], ids=["absent", "damaged"])
def test_fetch_refuses_a_member_that_is_not_whole(
    server: tuple[str, Behaviour], tmp_path: Path, bad: str, before: bytes
) -> None:
    """Nor does such a member replace what is there."""
    url, does = server
    content, message = BAD_MEMBERS[bad]
    does.content = tar({"params_model_1.npz": content})
    path = tmp_path / "params" / "params_model_1.npz"
    if before:
        path.parent.mkdir()
        path.write_bytes(before)
    with pytest.raises(WeightsMissingError, match=rf"params_model_1\.npz: .*({message})"):
        fetch(tmp_path, url, ["model_1"])
    assert [item for item in tmp_path.rglob("*") if item.is_file()] == ([path] if before else [])
    assert not before or path.read_bytes() == before


def test_further_parameters_are_fetched_where_they_are_named(
    server: tuple[str, Behaviour], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive of AlphaFold-Multimer's earlier models, and DeepFold's five files."""
    url, does = server
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "params"

    def fetched(name: str) -> int:
        return main(["weights", "fetch", name, str(tmp_path), "--mirror", url])

    does.content = tar({f"params_model_{number}_multimer_v2.npz": npz() for number in range(1, 6)})
    assert fetched("multimer_v2") == 0
    does.content = npz()
    assert fetched("deepfold") == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"deepfold_model_{number}.npz" for number in range(1, 6)),
        *(f"params_model_{number}_multimer_v2.npz" for number in range(1, 6)),
    ]
    lines: list[str] = []
    assert report_check(tmp_path, lines.append) == 0
    states = {line.split()[1]: line.split()[0] for line in lines}
    assert states["deepfold_model_4.npz"] == states["params_model_2_multimer_v2.npz"] == "whole"
    assert states["params_model_1.npz"] == "missing"
    assert "params_model_1_multimer.npz" not in states  # nobody has asked for them
    does.content = random_npz()
    (folder / "deepfold_model_2.npz").unlink()
    assert fetched("deepfold") == 2
    assert not (folder / "deepfold_model_2.npz").exists()
    assert fetched("multimer_v4") == 2


def test_advice_names_the_parameters_that_are_missing(tmp_path: Path) -> None:
    for model, said in (
        ("model_1_multimer", "fetch multimer_v1"),
        ("deepfold_model_3", "fetch deepfold"),
    ):
        with pytest.raises(WeightsMissingError, match=said):
            find(str(tmp_path), [model])
    with pytest.raises(WeightsMissingError) as caught:
        find(str(tmp_path), ["model_1"])
    assert "fetch alphafold2" in str(caught.value)


def test_fetch_refuses_what_is_no_archive(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    with pytest.raises(WeightsMissingError, match="cannot be unpacked"):
        fetch(tmp_path, url, ["model_1"])


DAMAGE = {
    "flipped": flipped,
    "cut": lambda whole: whole[:-30],
    "empty": lambda _: b"",
    "another file": lambda _: b"<html>404</html>",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_fetch_replaces_what_is_damaged_and_nothing_else(
    server: tuple[str, Behaviour], tmp_path: Path, damage: str
) -> None:
    url, does = server
    does.content = tar({f"params_model_{number}.npz": npz(fill=number) for number in (1, 2, 3)})
    whole, damaged, missing = (tmp_path / "params" / f"params_model_{number}.npz" for number in (1, 2, 3))
    whole.parent.mkdir()
    whole.write_bytes(npz(fill=7))  # not the server's, but whole
    damaged.write_bytes(DAMAGE[damage](npz(fill=2)))
    before = whole.stat()
    names = ["model_1", "model_2", "model_3"]
    lines: list[str] = []
    assert fetch(tmp_path, url, names, lines.append) == [whole, damaged, missing]
    assert (whole.stat().st_ino, whole.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (damaged.read_bytes(), missing.read_bytes()) == (npz(fill=2), npz(fill=3))
    assert sorted(tmp_path.rglob("*")) == [whole.parent, whole, damaged, missing]
    (said,) = [line for line in lines if "It is fetched again" in line]
    assert said.startswith(f"{damaged}: the file ")
    # Once all are whole, the server is not asked.
    asked = len(does.asked)
    assert fetch(tmp_path, url, names) == [whole, damaged, missing]
    assert len(does.asked) == asked == 1


def test_a_damaged_file_stays_until_there_is_a_whole_one(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, does = server
    path = tmp_path / "params" / "params_model_1.npz"
    path.parent.mkdir()
    path.write_bytes(flipped(npz()))
    does.content = tar({"params_model_2.npz": npz()})
    with pytest.raises(WeightsMissingError, match=r"lacks params_model_1\.npz"):
        fetch(tmp_path, url, ["model_1"])
    does.status = 404
    with pytest.raises(DownloadError):
        fetch(tmp_path, f"{url}.other", ["model_1"])
    assert path.read_bytes() == flipped(npz())


@pytest.mark.parametrize("kind", ["whole", "flipped", "cut", "cut mark"])
def test_official_parameters_never_join_random_ones(
    server: tuple[str, Behaviour], tmp_path: Path, kind: str
) -> None:
    url, does = server
    content = random_npz()
    changed = {"flipped": flipped(content), "cut": content[:-200], "cut mark": content[:-20]}
    path = tmp_path / "params" / "params_model_1.npz"
    path.parent.mkdir()
    (path.parent / "REHEARSAL.txt").touch()
    path.write_bytes(changed.get(kind, content))
    before = path.read_bytes()
    for names in (["model_1"], ["model_2"], None):
        with pytest.raises(WeightsMissingError, match=r"params_model_1\.npz: random .*another folder"):
            fetch(tmp_path, url, names)
    assert does.asked == []
    assert path.read_bytes() == before


#: Root without what makes it open everything: files of its own then have the permissions that they say.
_PLAIN_ROOT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")


@pytest.mark.needs("setpriv")
def test_what_may_not_be_read_is_not_replaced(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, does = server
    path = tmp_path / "params" / "params_model_1.npz"
    path.parent.mkdir()
    path.write_bytes(npz())
    path.chmod(0)
    before = path.stat()
    snakefold = Path(sys.executable).with_name("snakefold")
    command = [snakefold, "weights", "fetch", tmp_path, "--mirror", url]
    plain = _PLAIN_ROOT if os.geteuid() == 0 else ()
    done = subprocess.run([*plain, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"{path}: cannot be opened (Permission denied)" in done.stderr
    assert does.asked == []
    assert path.stat() == before


def test_the_command_says_what_it_replaces(
    server: tuple[str, Behaviour], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, does = server
    does.content = tar({f"params_{name}.npz": npz() for name in all_models()})
    command = ["weights", "fetch", str(tmp_path), "--mirror", url]
    assert main(command) == 0
    path = tmp_path / "params" / "params_model_3_ptm.npz"
    path.write_bytes(flipped(path.read_bytes()))
    assert main(["weights", "check", str(tmp_path)]) == 1
    capsys.readouterr()
    assert main(command) == 0
    assert f"{path}: the file is damaged" in capsys.readouterr().out
    assert main(["weights", "check", str(tmp_path)]) == 0
