"""What doctor finds in FASTA files, folders of mmCIF files and records; each fault is one that happens."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
import zstandard

from snakefold import cli
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.paths import resource
from snakefold.msa.databases import doctor, known, parts, record
from snakefold.msa.databases.fetch import Options, fetch
from snakefold.msa.databases.finding import Finding
from snakefold.msa.databases.known import Entry
from snakefold.msa.databases.progress import Reporter
from tests.data.conftest import FASTA, preset
from tests.data.site import Site

URL = "https://publisher.example/pub/small.fasta.gz"


def examine(entries: list[Entry]) -> list[Finding]:
    return list(doctor.examine(entries, search=False))


def placed(folder: Path, content: bytes, name: str = "small.fasta", **more: object) -> list[Entry]:
    entries = preset(folder, {"path": name, "urls": [URL], **more})
    entries[0].root.mkdir()
    (entries[0].root / name).write_bytes(content)
    return entries


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<html>404</html>\n", "no FASTA"),
        (FASTA[:-20], "ends within a line"),
        (FASTA[: FASTA.rfind(b">") + 9], "header and no sequence"),
        (FASTA[: FASTA.rfind(b"protein\n") + 8], "header and no sequence"),
        (FASTA[:20_000] + bytes(20_000) + FASTA[40_000:], "zero bytes at"),
    ],
    ids=["empty", "a page", "cut", "cut in a header", "cut after a header", "a hole"],
)
def test_a_damaged_fasta_is_found(tmp_path: Path, content: bytes, said: str) -> None:
    (fault,) = examine(placed(tmp_path, content))
    assert fault.fault
    assert said in fault.text
    assert f"small.fasta. Run: snakefold db fetch tiny --root {tmp_path}/root --only small" in fault.advice


@pytest.mark.parametrize("make", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gz", "zst"])
def test_a_compressed_fasta_is_read_to_its_end(tmp_path: Path, make: object) -> None:
    name = "small.fasta.gz" if make is gzip.compress else "small.fasta.zst"
    whole = make(FASTA)  # type: ignore[operator]
    entries = placed(tmp_path, whole, name)
    assert not examine(entries)[0].fault
    (entries[0].root / name).write_bytes(whole[:-20])
    (fault,) = examine(entries)
    assert "truncated or damaged" in fault.text


def test_any_cut_of_a_fetched_file_is_found(site: Site, tmp_path: Path) -> None:
    """Also where the cut leaves a FASTA that looks whole: the record has its size."""
    site.put(URL, gzip.compress(FASTA))
    entries = preset(tmp_path, {"path": "small.fasta", "urls": [URL]})
    fetch(entries[0].root, entries, Options(mirror=site.address), Reporter())
    assert "as it was fetched" in examine(entries)[0].text
    path = entries[0].database.path
    path.write_bytes(FASTA[: FASTA.rfind(b">")])
    (fault,) = examine(entries)
    assert fault.fault
    assert f"{len(FASTA):,} when fetched" in fault.text
    path.write_bytes(FASTA.replace(b"ACDEF", b"ACDEG"))
    assert "other content than when fetched" in examine(entries)[0].text
    path.unlink()
    assert "missing" in examine(entries)[0].text


def test_a_fetch_that_was_stopped_and_one_of_aria2_are_found(tmp_path: Path) -> None:
    entries = placed(tmp_path, FASTA)
    (entries[0].root / "small.fasta.aria2").touch()
    assert "was not finished" in examine(entries)[0].text
    (entries[0].root / "small.fasta.aria2").unlink()
    assert not examine(entries)[0].fault
    entries[0].database.path.unlink()
    entries[0].staging.mkdir(parents=True)
    (fault,) = examine(entries)
    assert "its fetch was not finished" in fault.text
    assert fault.fault


def test_a_part_of_a_release_is_found_by_its_size(tmp_path: Path) -> None:
    (fault,) = examine(placed(tmp_path, FASTA, gigabytes=17))
    assert "its release 17 GB: a part of it" in fault.text


def test_what_is_optional_may_be_missing_but_not_in_part(tmp_path: Path) -> None:
    listed = {"optional": True, "path": "db", "format": "mmseqs", "files": ["db.dbtype", "db_seq.dbtype"]}
    entries = preset(tmp_path, {**listed, "urls": [URL]})
    assert [finding.fault for finding in examine(entries)] == [False]
    entries[0].root.mkdir()
    (entries[0].root / "db.dbtype").touch()
    assert [finding.fault for finding in examine(entries)] == [True]


def test_mmcif_files_are_looked_at(tmp_path: Path) -> None:
    listed = {"path": "mmcif_files", "format": "mmcif", "tools": ["hhsearch"]}
    entries = preset(tmp_path, {**listed, "urls": [URL], "prepare": "entries"})
    folder = entries[0].database.path
    folder.mkdir(parents=True)
    assert "has no *.cif file" in examine(entries)[0].text
    for number in range(20):
        (folder / f"{number}abc.cif").write_text("data_X\nloop_\n#\n")
    assert not examine(entries)[0].fault
    (folder / "3abc.cif").write_text("")
    (folder / "4abc.cif").write_text("data_X\nloop_\nATOM 1 N")
    (folder / "5abc.cif").write_text("<html>\n#")
    faults = "\n".join(finding.text for finding in examine(entries) if finding.fault)
    assert "1 of 20 files are empty, first 3abc.cif" in faults
    assert "4abc.cif does not end with #" in faults
    assert "5abc.cif begins with" in faults


def test_a_list_of_obsolete_entries_is_looked_at(tmp_path: Path) -> None:
    listed = {"path": "obsolete.dat", "format": "text", "tools": ["hhsearch"]}
    entries = preset(tmp_path, {**listed, "urls": [URL]})
    entries[0].root.mkdir()
    for content, fault in (
        ("", True),
        ("OBSLTE    31-JUL-94 116L", True),
        ("OBSLTE    31-JUL-94 116L\n", False),
    ):
        entries[0].database.path.write_text(content)
        assert examine(entries)[0].fault is fault


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    entries = placed(tmp_path, FASTA)
    (entries[0].root / record.NAME).write_text('{"small.fasta": 3}')
    with pytest.raises(SnakefoldError, match="Remove it"):
        examine(entries)


def test_the_demo_is_sound_and_every_tool_gives_the_known_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["db", "doctor"]) == 0
    report = capsys.readouterr().out
    assert "jackhmmer: finds NEDD8 by ubiquitin" in report
    assert "mmseqs: finds NEDD8 by ubiquitin" in report
    assert "uniprot by mmseqs: mmseqs finds" in report
    assert "demo: sound" in report


def test_a_search_that_does_not_find_its_answer_is_a_fault(tmp_path: Path) -> None:
    """Swiss-Prot without NEDD8: the answer is not there, so none may be reported."""
    source = resource("resources/demo/database/swissprot.fasta").read_text()
    kept = [entry for entry in source.split(">")[1:] if not entry.startswith(known.NEDD8)]
    assert len(kept) == source.count(">") - 1
    entries = placed(tmp_path, "".join(f">{entry}" for entry in kept).encode())
    part = parts.Part(entries[0].database, known.NEDD8, known.UBIQUITIN)
    for tool in ("jackhmmer", "mmseqs", "hmmsearch"):
        work = tmp_path / tool
        work.mkdir()
        with pytest.raises(known.NoAnswerError, match="did not find Q15843"):
            known._SEARCHES[tool](part, work, lambda _: None)


def test_hmmsearch_gives_the_known_answer_and_finds_a_chain_of_pdb_seqres(tmp_path: Path) -> None:
    assert "NEDD8" in str(known.run_demo("hmmsearch", tmp_path / "demo", lambda _: None))
    listed = {"path": "pdb_seqres.txt", "tools": ["hmmsearch"]}
    entries = preset(tmp_path, {**listed, "urls": [URL]})
    entries[0].root.mkdir()
    shutil.copy(resource("resources/demo/database/swissprot.fasta"), entries[0].database.path)
    assert "hmmsearch finds" in known.run("hmmsearch", entries[0].database, tmp_path / "own", lambda _: None)


def test_a_large_database_is_searched_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "BYTES", 30_000)
    entries = placed(tmp_path, resource("resources/demo/database/swissprot.fasta").read_bytes())
    part = parts.take(entries[0].database, tmp_path, lambda _: None)
    text = part.database.path.read_bytes()
    assert len(text) <= 30_000
    assert text.endswith(b"\n")
    assert entries[0].database.path.read_bytes().startswith(text)
    assert entries[0].database.path.read_bytes()[len(text) :].startswith(b">")
