"""Parameters: where they are found, and a hub of this machine that they are fetched from."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakefold_images.errors import WeightsError
from snakefold_images.weights import NEEDED, Weights, fetch, find

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """The part of the hub's API that a download of a repository uses.

    Attributes:
        gone: status with which the repository is refused; 0: it is there.
        asked: paths, with the Authorization that came with them.
    """

    def __init__(self, folder: Path) -> None:
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        # Never to be fetched: the same parameters once more, and what nobody asked for.
        self.files |= {"sam3.pt": b"x" * 100, "README.md": b"x"}
        self.gone = 0
        self.code = ""
        self.asked: list[tuple[str, str]] = []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def do_HEAD(self) -> None:
                hub.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path = request.path.split("?")[0]
        self.asked.append((path, request.headers.get("Authorization", "")))
        if self.gone:
            self.send(request, self.gone, b"", {"X-Error-Code": self.code, "X-Error-Message": "no"})
        elif path.startswith(f"/api/models/facebook/sam3/tree/{COMMIT}"):
            tree = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(data),
                    "oid": hashlib.sha256(data).hexdigest()[:40],
                }
                for name, data in self.files.items()
            ]
            self.send(request, 200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        elif path.startswith("/api/models/facebook/sam3"):
            names = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
            about = {"id": "facebook/sam3", "sha": COMMIT, "siblings": names, "private": False, "tags": []}
            self.send(request, 200, json.dumps(about).encode(), {"Content-Type": "application/json"})
        elif (name := path.rpartition("/")[2]) in self.files and "/resolve/" in path:
            data = self.files[name]
            tag = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self.send(request, 200, data, {**tag, "Accept-Ranges": "bytes"})
        else:
            self.send(request, 404, b"", {"X-Error-Code": "EntryNotFound"})

    @staticmethod
    def send(
        request: http.server.BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)


@pytest.fixture
def hub(drawn: Weights, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(drawn.folder)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def test_parameters_are_fetched_with_the_token(hub: Hub, tmp_path: Path) -> None:
    found = fetch(tmp_path, say=lambda _: None)
    assert found.version == "random parameters"
    assert COMMIT in str(found.folder)
    for name in NEEDED:
        assert (found.folder / name).read_bytes() == hub.files[name]
    assert find(tmp_path) == found
    fetched = {path.rpartition("/")[2] for path, _ in hub.asked}
    assert not {"sam3.pt", "README.md"} & fetched
    assert {token for _, token in hub.asked} == {"Bearer hf_secret"}


def test_official_parameters_say_which_commit_they_are(hub: Hub, tmp_path: Path) -> None:
    data = hub.files["model.safetensors"]
    hub.files["model.safetensors"] = data.replace(b"rehearsal", b"xxxxxxxxx", 1)
    found = fetch(tmp_path, say=lambda _: None)
    assert not found.rehearsal
    assert found.version == f"facebook/sam3@{COMMIT[:12]}"


def test_without_a_token_nobody_is_asked(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(WeightsError, match=r"\$HF_TOKEN is not set.*licence"):
        fetch(tmp_path)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "GatedRepo", "must accept the licence"),
        (401, "RepoNotFound", "token is wrong or expired"),
        (404, "RevisionNotFound", "no revision 'main'"),
        (403, "", "status 403"),
    ],
)
def test_a_refusal_says_what_to_do(hub: Hub, tmp_path: Path, status: int, code: str, told: str) -> None:
    hub.gone, hub.code = status, code
    with pytest.raises(WeightsError, match=told) as caught:
        fetch(tmp_path, say=lambda _: None)
    assert "hf_secret" not in str(caught.value)


def test_a_repository_without_a_needed_file_is_not_complete(hub: Hub, tmp_path: Path) -> None:
    del hub.files["tokenizer.json"]
    with pytest.raises(WeightsError, match=r"tokenizer\.json missing"):
        fetch(tmp_path, say=lambda _: None)


def test_nothing_official_goes_beside_random_parameters(hub: Hub, drawn: Weights) -> None:
    with pytest.raises(WeightsError, match="random parameters"):
        fetch(drawn.folder)
    assert hub.asked == []


def test_missing_parameters_are_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json, model\.safetensors.*weights fetch"):
        find(tmp_path)
