"""The presets as they are listed, fetched from copies of their addresses with small files behind them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import zstandard
from families import expandable_database, mmseqs

from snakefold import cli
from snakefold.kernel.download import DownloadError
from snakefold.msa.databases import known, pdb, record
from snakefold.msa.databases import presets as databases
from snakefold.msa.databases.fetch import Options, fetch
from snakefold.msa.databases.progress import Reporter
from snakefold.msa.settings import MsaSettings
from tests.data import site as faults
from tests.data.conftest import FASTA
from tests.data.site import Site

CIF = b"data_%s\n_entry.id %s\n#\n"
PDB = "https://files.wwpdb.org"


def tar(files: Mapping[str, bytes], folder: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(folder + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def hhsuite_files(name: str) -> dict[str, bytes]:
    """The names and the form of an HH-suite database; nothing that HH-suite could search."""
    files = {}
    for part in ("a3m", "hhm", "cs219"):
        files[f"{name}_{part}.ffdata"] = b">one\nACDEF\n\0"
        files[f"{name}_{part}.ffindex"] = b"one\t0\t12\n"
    sums = [
        f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}  {each}\n" for each, data in files.items()
    ]
    return files | {f"{name}.md5sums": "".join(sums).encode()}


def metalink(files: Mapping[str, bytes]) -> bytes:
    listed = "".join(
        f'<file name="{name}"><size>{len(content)}</size><verification><hash type="md5">'
        f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}</hash></verification></file>"
        for name, content in files.items()
    )
    return (
        f'<metalink xmlns="http://www.metalinker.org/"><version>2026_05</version>{listed}</metalink>'.encode()
    )


def publish(site: Site, preset: str) -> None:
    """A small file behind every address of `preset`."""
    _, entries = known.entries(preset, Path("unused"))
    sums: dict[str, dict[str, bytes]] = {}
    for entry in entries:
        source = entry.source
        assert source is not None
        for url in source.urls:
            name = url.rsplit("/", 1)[-1]
            if entry.database.format == "hhsuite":
                content = tar(hhsuite_files(entry.database.path.name))
            elif name.endswith(".json.gz"):
                content = gzip.compress(json.dumps(holdings("100d", "1abc")).encode())
            elif name == "pdb_seqres.txt":
                content = b">100d_A mol:na length:4\nCCGG\n>1abc_A mol:protein length:4\nACDE\n"
            elif name.endswith(".gz"):
                content = gzip.compress(FASTA)
            else:
                content = b" LIST OF OBSOLETE\n"
            site.put(url, content)
            if source.md5:
                sums.setdefault(source.md5, {})[name] = content
    for url, files in sums.items():
        site.put(url, metalink(files))
    for entry in ("100d", "1abc"):
        site.put(PDB + path(entry), gzip.compress(CIF % (entry.encode(), entry.encode())))


def path(entry: str) -> str:
    return f"/pub/pdb/data/structures/divided/mmCIF/{entry[1:3]}/{entry}.cif.gz"


def holdings(*entries: str) -> dict[str, dict[str, list[str]]]:
    return {entry.upper(): {"mmcif": [path(entry)], "pdb": ["/pub/pdb/other"]} for entry in entries}


@pytest.mark.parametrize("preset", ["reduced_dbs", "full_dbs"])
def test_alphafolds_databases_arrive_where_a_run_looks_for_them(
    site: Site, tmp_path: Path, preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(site, preset)
    command = ["db", "fetch", preset, "--root", str(tmp_path), "--mirror", site.address, "--force"]
    assert cli.main(command) == 0
    fetched, entries = known.entries(preset, tmp_path)
    for tool, templates in (("jackhmmer", "hhsearch"), ("jackhmmer", "hmmsearch")):
        databases.check(fetched, MsaSettings.model_validate({"tool": tool, "templates": templates}))
    assert (tmp_path / "uniref90/uniref90.fasta").read_bytes() == FASTA
    assert (tmp_path / "uniprot/uniprot.fasta").read_bytes() == FASTA + FASTA
    assert (tmp_path / "pdb_seqres/pdb_seqres.txt").read_text() == ">1abc_A mol:protein length:4\nACDE\n"
    assert sorted(each.name for each in (tmp_path / "pdb_mmcif/mmcif_files").iterdir()) == [
        "100d.cif",
        "1abc.cif",
    ]
    assert [each.state for each in entries] == ["there"] * len(entries)
    assert sorted(each.name for each in (tmp_path / ".snakefold").iterdir()) == ["lock"]
    assert record.read(tmp_path)["uniref90/uniref90.fasta"].release == "2026_05"

    asked = len(site.asked)
    assert cli.main(command) == 0
    assert len(site.asked) == asked
    assert "uniref90: there already" in capsys.readouterr().out


def test_the_record_has_the_identities_that_recipes_have(site: Site, tmp_path: Path) -> None:
    publish(site, "full_dbs")
    command = ["db", "fetch", "full_dbs", "--root", str(tmp_path), "--mirror", site.address, "--force"]
    assert cli.main(command) == 0
    preset, entries = known.entries("full_dbs", tmp_path)
    settings = MsaSettings.model_validate({"tool": "hhblits", "templates": "hmmsearch"})
    recorded = {entry.database.name: record.read(tmp_path)[entry.key].files for entry in entries}
    fingerprints = databases.fingerprint(preset, settings)
    assert {each["name"] for each in fingerprints} > {"uniref90", "bfd", "uniref30", "mgnify", "pdb_mmcif"}
    for each in fingerprints:
        for file in each["files"]:
            assert file in recorded[each["name"]].values()


def test_only_some_are_fetched_and_a_dry_run_fetches_none(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(site, "reduced_dbs")
    command = ["db", "fetch", "reduced_dbs", "--root", str(tmp_path / "new"), "--mirror", site.address]
    assert cli.main([*command, "--dry-run"]) == 0
    assert site.gets() == []
    assert not (tmp_path / "new").exists()
    assert "mgnify: 0.0 GB to download" in capsys.readouterr().out
    assert cli.main([*command, "--only", "small_bfd", "obsolete"]) == 0
    assert {name for name, _ in site.gets()} == {
        "bfd-first_non_consensus_sequences.fasta.gz",
        "obsolete.dat",
    }
    assert cli.main([*command, "--only", "uniref91"]) == 2
    assert "uniref91: not in this preset" in capsys.readouterr().err
    cli.main(["db", "list", "reduced_dbs", "--root", str(tmp_path / "new")])
    states = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert "there" in states["small_bfd"]
    assert "missing" in states["mgnify"]
    assert "CC0 1.0" in states["mgnify"]
    assert "https://storage.googleapis.com/alphafold-databases/v2.3" in states["mgnify"]


def test_entries_of_the_pdb_are_continued_and_obsolete_ones_left_out(site: Site, tmp_path: Path) -> None:
    publish(site, "reduced_dbs")
    entries = [f"{number}abc" for number in range(1, 10)] + [f"{number}xyz" for number in range(1, 10)]
    for entry in entries:
        site.put(PDB + path(entry), gzip.compress(CIF % (entry.encode(), entry.encode())))
    site.page("current_file_holdings.json.gz").content = gzip.compress(
        json.dumps(holdings(*entries)).encode()
    )
    site.pages.pop(f"/files.wwpdb.org{path('9xyz')}")
    site.page("3abc.cif.gz").faults = [faults.status(500)] * 5
    site.page("4abc.cif.gz").faults = [faults.breaks_off(10), faults.status(503)]
    _, wanted = known.entries("reduced_dbs", tmp_path)
    wanted = [entry for entry in wanted if entry.database.name == "pdb_mmcif"]
    how = Options(mirror=site.address, timeout=600, pause=0.001, force=True)
    with pytest.raises(DownloadError, match=r"3abc\.cif\.gz: status 500.*resume"):
        fetch(tmp_path, wanted, how, Reporter())
    assert wanted[0].state == "unfinished"
    before = len(list((wanted[0].staging / "made/mmcif_files").glob("*.cif")))
    assert before > 0
    site.asked.clear()
    fetch(tmp_path, wanted, how, Reporter())
    files = wanted[0].database.path
    assert sorted(each.stem for each in files.iterdir()) == sorted(set(entries) - {"9xyz"})
    assert (files / "4abc.cif").read_bytes() == CIF % (b"4abc", b"4abc")
    # What had arrived was not asked for again (the list of entries was there too).
    assert len(site.gets()) == len(entries) - before


def test_entries_of_the_pdb_come_through_the_proxy_that_the_environment_names(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put("http://files.example" + path("1abc"), gzip.compress(CIF % (b"1abc", b"1abc")))
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", site.address)
    pdb.fetch("http://files.example", {"1abc": path("1abc")}, tmp_path, lambda done, total: None)
    assert (tmp_path / "1abc.cif").read_bytes() == CIF % (b"1abc", b"1abc")
    monkeypatch.setenv("no_proxy", "files.example")
    with pytest.raises(DownloadError):
        pdb.fetch(
            "http://files.example", {"2abc": path("2abc")}, tmp_path, lambda *_: None, timeout=1, pause=0
        )


@pytest.fixture(scope="module")
def colabfold_archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small expandable database by the name of ColabFold's."""
    folder = tmp_path_factory.mktemp("colabfold")
    expandable_database(folder, "uniref30_2302_db", seed=1)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", dereference=True) as archive:
        for file in sorted(folder.glob("uniref30_2302_db*")):
            archive.add(file, f"./{file.name}")
    return zstandard.ZstdCompressor().compress(stream.getvalue())


@pytest.mark.slow
def test_colabfolds_databases_are_unpacked_made_and_indexed(
    site: Site, tmp_path: Path, colabfold_archive: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    site.put("https://opendata.mmseqs.org/colabfold/uniref30_2302.db.tar.gz", colabfold_archive)
    _, entries = known.entries("colabfold", tmp_path)
    uniprot = next(entry for entry in entries if entry.database.name == "uniprot")
    assert uniprot.source is not None
    assert uniprot.source.md5 is not None
    files = {url.rsplit("/", 1)[-1]: gzip.compress(FASTA) for url in uniprot.source.urls}
    for url in uniprot.source.urls:
        site.put(url, files[url.rsplit("/", 1)[-1]])
    site.put(uniprot.source.md5, metalink(files))
    command = ["db", "fetch", "colabfold", "--root", str(tmp_path), "--mirror", site.address]
    assert cli.main([*command, "--only", "uniref30", "uniprot"]) == 0
    mmseqs(tmp_path, "convert2fasta", "uniprot", "uniprot.back.fasta")
    assert (tmp_path / "uniprot.back.fasta").read_bytes().count(b">") == 2 * FASTA.count(b">")

    asked = len(site.gets())
    assert cli.main([*command, "--only", "uniref30", "--index"]) == 0
    assert len(site.gets()) == asked
    assert (tmp_path / "uniref30_2302_db.idx.dbtype").is_file()
    assert "uniref30_2302_db.idx" in record.read(tmp_path)["uniref30_2302_db"].files
    assert cli.main(["db", "doctor", "colabfold", "--root", str(tmp_path)]) == 0
    report = capsys.readouterr().out
    assert "uniref30 by mmseqs: mmseqs finds" in report
    assert "uniprot by mmseqs: mmseqs finds" in report
    (tmp_path / "uniref30_2302_db.idx").rename(tmp_path / "uniprot.idx")
    (tmp_path / "uniref30_2302_db.idx.index").rename(tmp_path / "uniprot.idx.index")
    shutil.copy(tmp_path / "uniref30_2302_db.idx.dbtype", tmp_path / "uniprot.idx.dbtype")
    assert cli.main(["db", "doctor", "colabfold", "--root", str(tmp_path), "--no-search"]) == 1
    report = capsys.readouterr().out
    assert "uniref30_2302_db.idx is not whole" in report
    assert "uniprot.idx was made of" in report
