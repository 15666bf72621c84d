"""Boltz-2's parameters: fetched from a server on this machine, found, compared, and never mixed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from snakefold.engines.boltz2 import components, downloads, rehearsal, weights
from snakefold.engines.boltz2.folder import Files
from snakefold.kernel import recipes
from snakefold.kernel.download import DownloadError
from snakefold.kernel.errors import WeightsMissingError


def checkpoint(text: str) -> bytes:
    """A zip file, as checkpoints are."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", text * 5_000)
    return stream.getvalue()


def tar(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        folder = tarfile.TarInfo("mols")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return stream.getvalue()


MOLECULES = {f"mols/{code}.pkl": code.encode() * 9 for code in (*components.ALWAYS, "ATP", "HEM")}


@dataclass
class Hub:
    """What is served by name, what was asked, and after how many bytes an answer breaks off."""

    files: dict[str, bytes]
    asked: list[tuple[str, str]] = field(default_factory=list)
    break_after: dict[str, int] = field(default_factory=dict)
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    """Serves `server.hub`, and continues what broke off."""

    def do_GET(self) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        name, start = self.path.rsplit("/", 1)[-1], 0
        hub.asked.append((name, self.headers.get("Range", "")))
        if name not in hub.files:
            self.send_error(404)
            return
        if asked := self.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        content = hub.files[name]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", '"one"')
        self.end_headers()
        self.wfile.write(content[start:][: hub.break_after.pop(name, None)])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A publisher whose three files are small, and stated with their checksums."""
    files = {
        "boltz2_conf.ckpt": checkpoint("structure"),
        "boltz2_aff.ckpt": checkpoint("affinity"),
        "mols.tar": tar(MOLECULES),
    }
    for name in ("STRUCTURE", "AFFINITY", "COMPONENTS"):
        content = files[getattr(downloads, name).name]
        stated = replace(
            getattr(downloads, name), bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        monkeypatch.setattr(downloads, name, stated)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # before the next attempt
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        found = Hub(files, address=f"http://127.0.0.1:{running.server_port}/copy/")
        running.hub = found  # type: ignore[attr-defined]
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield found
        running.shutdown()


@pytest.fixture
def fetched(hub: Hub, tmp_path: Path) -> Path:
    """A complete weights folder."""
    downloads.fetch(tmp_path / "w", hub.address, lambda _: None)
    hub.asked.clear()
    return tmp_path / "w"


def test_the_official_addresses_name_a_revision_and_checksums() -> None:
    assert len(downloads.REVISION) == 40
    assert downloads.ADDRESS.endswith(downloads.REVISION)
    for published in (downloads.STRUCTURE, downloads.AFFINITY, downloads.COMPONENTS):
        assert published.bytes > 1e9
        assert published.sha256 is not None
        assert len(bytes.fromhex(published.sha256)) == 32


def test_a_fetch_makes_a_complete_folder(hub: Hub, tmp_path: Path) -> None:
    said: list[str] = []
    downloads.fetch(tmp_path, hub.address, said.append)
    files = Files(tmp_path)
    assert files.structure.read_bytes() == hub.files["boltz2_conf.ckpt"]
    assert files.affinity.read_bytes() == hub.files["boltz2_aff.ckpt"]
    assert {path.name: path.read_bytes() for path in files.molecules.iterdir()} == {
        name.removeprefix("mols/"): content for name, content in MOLECULES.items()
    }
    assert sorted(path.name for path in files.folder.iterdir()) == [
        "boltz2_aff.ckpt",
        "boltz2_conf.ckpt",
        "mols",
        "mols.json",
    ]
    assert sum("SHA-256 as published" in line for line in said) == 3
    said.clear()
    assert downloads.check(tmp_path, said.append)
    assert all("complete" in line for line in said)
    assert len(said) == 3


def test_what_is_complete_is_not_fetched_again(hub: Hub, fetched: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (fetched / "boltz2").rglob("*") if path.is_file()}
    downloads.fetch(fetched, hub.address, lambda _: None)
    assert hub.asked == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_break_is_continued_even_by_a_later_call(hub: Hub, tmp_path: Path) -> None:
    hub.break_after = {"boltz2_conf.ckpt": 40}
    part = tmp_path / "boltz2" / ".download" / "mols.tar.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(hub.files["mols.tar"][:1000])
    part.with_name("mols.tar.part.etag").write_text('"one"')
    downloads.fetch(tmp_path, hub.address, lambda _: None)
    assert ("boltz2_conf.ckpt", "bytes=40-") in hub.asked
    assert [asked for name, asked in hub.asked if name == "mols.tar"] == ["bytes=1000-"]
    assert downloads.check(tmp_path, print)


def test_another_file_than_stated_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files["boltz2_aff.ckpt"] = bytes(len(hub.files["boltz2_aff.ckpt"]))
    with pytest.raises(DownloadError, match=r"boltz2_aff.ckpt: sha256 is .*, expected"):
        downloads.fetch(tmp_path, hub.address, lambda _: None)
    assert Files(tmp_path).structure.is_file()
    assert not Files(tmp_path).affinity.exists()
    assert not downloads.check(tmp_path, print)


@pytest.mark.parametrize("damage", ["flipped", "cut", "removed"])
def test_a_damaged_file_is_told_and_replaced(hub: Hub, fetched: Path, damage: str) -> None:
    path = Files(fetched).structure
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flipped" else content[:-5])
    said: list[str] = []
    assert not downloads.check(fetched, said.append)
    assert any(str(path) in line and weights.COMMAND in line for line in said)
    downloads.fetch(fetched, hub.address, said.append)
    assert [name for name, _ in hub.asked] == ["boltz2_conf.ckpt"]
    assert downloads.check(fetched, said.append)


@pytest.mark.parametrize("damage", ["lost", "cut", "unrecorded"])
def test_lost_components_are_noticed(hub: Hub, fetched: Path, damage: str) -> None:
    files = Files(fetched)
    if damage == "lost":
        (files.molecules / "ATP.pkl").unlink()
    elif damage == "cut":
        (files.molecules / "ATP.pkl").write_bytes(b"")
    else:
        (files.folder / "mols.json").unlink()
    assert not downloads.check(fetched, print)
    downloads.fetch(fetched, hub.address, print)
    assert [name for name, _ in hub.asked] == ["mols.tar"]
    assert downloads.check(fetched, print)


def test_a_copy_that_another_program_unpacked_is_complete(
    fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "CODES", len(MOLECULES))
    (Files(fetched).folder / "mols.json").unlink()
    assert downloads.check(fetched, print)


def test_structures_need_no_affinity_network(fetched: Path) -> None:
    Files(fetched).affinity.unlink()
    said: list[str] = []
    assert downloads.check(fetched, said.append)
    assert "affinities cannot" in said[-1]
    assert weights.find(str(fetched), affinity=False, draw=False) is not None
    with pytest.raises(WeightsMissingError, match=r"lacks boltz2_aff\.ckpt"):
        weights.find(str(fetched), affinity=True, draw=False)


def test_no_member_leaves_the_folder(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files["mols.tar"] = tar(
        {
            **MOLECULES,
            "../escaped.pkl": b"x",
            "mols/../../escaped.pkl": b"x",
            f"{tmp_path}/escaped.pkl": b"x",
            "mols/deep/escaped.pkl": b"x",
            "mols/._ATP.pkl": b"x",
            "other/ATP.pkl": b"x",
        },
        {"mols/link.pkl": "/etc/passwd"},
    )
    content = hub.files["mols.tar"]
    stated = downloads.Published("mols.tar", len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(downloads, "COMPONENTS", stated)
    downloads.fetch(tmp_path / "w", hub.address, print)
    assert not list(tmp_path.rglob("*escaped*"))
    assert len(list(Files(tmp_path / "w").molecules.iterdir())) == len(MOLECULES)


def test_an_archive_that_lacks_an_amino_acid_leaves_what_was_there(
    hub: Hub, fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tar({name: data for name, data in MOLECULES.items() if "GLY" not in name})
    hub.files["mols.tar"] = content
    stated = downloads.Published("mols.tar", len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(downloads, "COMPONENTS", stated)
    (Files(fetched).folder / "mols.json").unlink()
    with pytest.raises(WeightsMissingError, match="lacks GLY"):
        downloads.fetch(fetched, hub.address, print)
    assert (Files(fetched).molecules / "GLY.pkl").is_file()


def test_an_unstated_checksum_is_recorded_and_said(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "STRUCTURE", replace(downloads.STRUCTURE, sha256=None))
    said: list[str] = []
    downloads.fetch(tmp_path, hub.address, said.append)
    path = Files(tmp_path).structure
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.with_name("boltz2_conf.ckpt.sha256").read_text() == f"{found}  boltz2_conf.ckpt\n"
    assert any("states no checksum" in line and found in line for line in said)
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)
    assert not downloads.check(tmp_path, print)


def test_a_recipe_names_what_is_loaded(fetched: Path) -> None:
    with_affinity = weights.identity(fetched, affinity=True)
    assert set(with_affinity) == {"boltz2_conf.ckpt", "boltz2_aff.ckpt", "mols"}
    assert with_affinity["boltz2_conf.ckpt"] == recipes.file_fingerprint(Files(fetched).structure)
    assert set(weights.identity(fetched, affinity=False)) == {"boltz2_conf.ckpt", "mols"}
    (Files(fetched).molecules / "NEW.pkl").write_bytes(b"x")
    assert weights.identity(fetched, affinity=True)["mols"] != with_affinity["mols"]
    (Files(fetched).molecules / "NEW.pkl").unlink()
    assert weights.identity(fetched, affinity=True) == with_affinity
    (Files(fetched).molecules / "GLY.pkl").write_bytes(b"x")
    assert weights.identity(fetched, affinity=True)["mols"] != with_affinity["mols"]


def test_a_fingerprint_of_many_components_is_cheap(tmp_path: Path) -> None:
    for number in range(45_000):
        (tmp_path / f"{number:05}.pkl").touch()
    for code in components.ALWAYS:
        (tmp_path / f"{code}.pkl").write_bytes(code.encode())
    start = time.process_time()
    found = weights.components_fingerprint(tmp_path)
    assert found["files"] == 45_000 + len(components.ALWAYS)
    assert time.process_time() - start < 2


def test_what_is_no_checkpoint_is_told_before_a_run(fetched: Path) -> None:
    Files(fetched).structure.write_bytes(b"<html>not found</html>")
    with pytest.raises(WeightsMissingError, match=r"boltz2_conf.ckpt: expected a checkpoint.*fetch boltz2"):
        weights.find(str(fetched), affinity=False, draw=False)


# ---- random parameters, as far as a plan knows them ------------------------------------------------------
def test_a_rehearsal_is_declared_and_named_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights.find("rehearsal", affinity=True, draw=False) is None
    found = weights.find("rehearsal", affinity=True, draw=True, blocks=2, cache=tmp_path)
    assert found is not None
    assert found.folder is not None
    assert (found.rehearsal, found.blocks) == (True, 2)
    named = weights.identity(found.folder, affinity=True)
    assert named == {"rehearsal": True, **rehearsal.mark()}
    assert "REHEARSAL" in (found.folder / "boltz2" / "REHEARSAL.txt").read_text()
    again = weights.find(str(found.folder), affinity=True, draw=False, blocks=2)
    assert again == found
    monkeypatch.setattr(rehearsal, "DRAWING", rehearsal.DRAWING + 1)
    other = weights.find("rehearsal", affinity=True, draw=True, cache=tmp_path)
    assert other is not None
    assert other.folder != found.folder


def test_random_parameters_stand_in_only_where_nothing_was_meant_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "default_folder", lambda: tmp_path / "data")
    monkeypatch.delenv("SNAKEFOLD_WEIGHTS", raising=False)
    found = weights.find("auto", affinity=False, draw=True, cache=tmp_path)
    assert found is not None
    assert found.rehearsal
    monkeypatch.setenv("SNAKEFOLD_WEIGHTS", str(tmp_path / "named"))
    for place in ("auto", str(tmp_path / "given")):
        with pytest.raises(WeightsMissingError, match=r"lacks boltz2_conf.ckpt, mols.*fetch boltz2"):
            weights.find(place, affinity=False, draw=True, cache=tmp_path)


def test_random_and_official_parameters_never_mix(hub: Hub, fetched: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match="not overwritten"):
        rehearsal.declare(fetched)
    drawn = tmp_path / "drawn"
    rehearsal.declare(drawn)
    with pytest.raises(WeightsMissingError, match="REHEARSAL"):
        downloads.fetch(drawn, hub.address, print)
    Files(drawn).structure.write_bytes(Files(fetched).structure.read_bytes())
    with pytest.raises(WeightsMissingError, match="mixes random and other"):
        weights.identity(drawn, affinity=False)
    said: list[str] = []
    Files(drawn).structure.unlink()
    assert downloads.check(drawn, said.append)
    assert "REHEARSAL" in said[0]


def test_a_mark_stays_with_a_checkpoint_that_is_copied(fetched: Path) -> None:
    for path in Files(fetched).checkpoints(affinity=True):
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = f"REHEARSAL {json.dumps(rehearsal.mark())}".encode()
    assert weights.identity(fetched, affinity=True)["rehearsal"] is True
    found = weights.find(str(fetched), affinity=True, draw=False)
    assert found is not None
    assert found.rehearsal


def test_a_damaged_declaration_is_told(tmp_path: Path) -> None:
    rehearsal.declare(tmp_path)
    (tmp_path / "boltz2" / "REHEARSAL.json").write_text("{")
    with pytest.raises(WeightsMissingError, match=r"REHEARSAL.json: cannot be read"):
        weights.identity(tmp_path, affinity=False)
    assert not downloads.check(tmp_path, print)
