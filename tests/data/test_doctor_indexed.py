"""What doctor finds in databases of MMseqs2 and HH-suite, made by their own programs."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import families
import hhsuite
import pytest

from snakefold.msa.databases import check_hhsuite, check_mmseqs, finding, known
from snakefold.msa.databases.doctor import examine
from snakefold.msa.databases.known import Entry
from tests.data.conftest import preset

URL = "https://publisher.example/pub/db.tar.gz"
EXPANDABLE = "expandable/uniref_db"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain, a compressed and an expandable database."""
    folder = tmp_path_factory.mktemp("mmseqs")
    families.write_fasta(families.database(seed=1), folder / "all.fasta")
    families.mmseqs(folder, "createdb", "all.fasta", "plain")
    families.mmseqs(folder, "createdb", "all.fasta", "packed", "--compressed", "1")
    families.mmseqs(folder, "makepaddedseqdb", "plain", "padded")
    expandable = folder / "expandable"
    expandable.mkdir()
    families.expandable_database(expandable, "uniref_db", seed=2)
    return folder


def copy(made: Path, folder: Path) -> Path:
    return Path(shutil.copytree(made, folder / "copy", symlinks=False))


@pytest.mark.parametrize("name", ["plain", "packed", "padded", "expandable/uniref_db"])
def test_databases_that_mmseqs_makes_are_sound_and_searched(made: Path, tmp_path: Path, name: str) -> None:
    assert list(check_mmseqs.faults(made / name)) == []
    entries = preset(tmp_path, {"path": "db", "format": "mmseqs", "tools": ["mmseqs"], "urls": [URL]})
    database = replace(entries[0].database, path=made / name)
    assert "mmseqs finds" in known.run("mmseqs", database, tmp_path / "work", lambda _: None)


def cut(name: str, share: float) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return apply


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def exchange(one: str, other: str) -> Callable[[Path], None]:
    return lambda folder: shutil.copy(folder / other, folder / one)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("plain", cut("plain", 0.7), "its data have"),
        ("plain", cut("plain.index", 0.7), "plain.index"),
        ("plain", cut("plain.index", 0), "plain.index is empty"),
        ("plain", cut("plain.dbtype", 0.5), "plain.dbtype has 2 bytes"),
        ("plain", remove("plain.index"), "plain.index missing"),
        ("plain", remove("plain_h"), "plain_h missing"),
        ("plain", remove("plain_h.index"), "plain_h.index missing"),
        ("plain", cut("plain_h", 0.5), "plain_h.index names bytes"),
        ("plain", exchange("plain.index", "expandable/uniref_db.index"), "its data have"),
        ("packed", cut("packed", 0.5), "packed.index names bytes"),
        ("expandable/uniref_db", cut("expandable/uniref_db_seq", 0.9), "uniref_db_seq.index names"),
        ("expandable/uniref_db", remove("expandable/uniref_db_aln.index"), "uniref_db_aln.index missing"),
        (
            "expandable/uniref_db",
            exchange("expandable/uniref_db_aln.index", "plain.index"),
            "uniref_db_aln.index",
        ),
    ],
)
def test_a_damaged_mmseqs_database_is_found(
    made: Path, tmp_path: Path, name: str, damage: Callable[[Path], None], said: str
) -> None:
    folder = copy(made, tmp_path)
    damage(folder)
    assert said in "\n".join(check_mmseqs.faults(folder / name))


def test_of_a_large_index_beginning_and_end_are_read(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy(made, tmp_path)
    monkeypatch.setattr(finding, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(finding, "_PART_BYTES", 300)
    lines, complete = finding.lines_of(folder / "plain.index")
    everything = (folder / "plain.index").read_bytes().splitlines()
    assert not complete
    assert 10 < len(lines) < len(everything)
    assert set(lines) <= set(everything)
    assert (lines[0], lines[-1]) == (everything[0], everything[-1])
    assert list(check_mmseqs.faults(folder / "plain")) == []
    cut("plain", 0.9)(folder)
    assert "truncated" in "\n".join(check_mmseqs.faults(folder / "plain"))


def test_a_half_written_index_is_found(made: Path, tmp_path: Path) -> None:
    """Searches use `db.idx` as soon as it is there; createindex writes `db.idx.index` last."""
    folder = copy(made, tmp_path)
    (folder / "plain.idx").write_bytes(b"half")
    assert "plain.idx is not whole" in "\n".join(check_mmseqs.faults(folder / "plain"))


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An HH-suite database of four proteins, each with rows of its length: aligned as they are."""
    folder = tmp_path_factory.mktemp("hhsuite")
    (folder / "a3m").mkdir()
    draw = random.Random(1)
    for name, sequence in families.NATURAL.items():
        rows = [
            sequence,
            *("".join(draw.choice((each,) * 4 + ("A",)) for each in sequence) for _ in range(3)),
        ]
        text = "".join(f">{name}{number}\n{row}\n" for number, row in enumerate(rows))
        (folder / "a3m" / name).write_text(text)
    context = ("-A", hhsuite.data_folder() / "cs219.lib", "-D", hhsuite.data_folder() / "context_data.lib")
    weights = ("-x", "0.3", "-c", "4", "-f", "-I", "a3m", "-b")
    hhm = ("-d", "db_hhm.ffdata", "-i", "db_hhm.ffindex")
    hhmake = ("--", "hhmake", "-i", "stdin", "-o", "stdout", "-v", "0")
    environment = {**os.environ, "HHLIB": str(hhsuite.data_folder().parent)}
    for command in (
        ("ffindex_build", "-s", "db_a3m.ffdata", "db_a3m.ffindex", "a3m"),
        ("ffindex_apply", "db_a3m.ffdata", "db_a3m.ffindex", *hhm, *hhmake),
        (hhsuite.cstranslate(), "-i", "db_a3m", "-o", "db_cs219", *context, *weights),
    ):
        environment = {**os.environ, "HHLIB": str(hhsuite.data_folder().parent)}
        subprocess.run(
            [str(word) for word in command], cwd=folder, check=True, capture_output=True, env=environment
        )
    return folder / "db"


def entry(prefix: Path, folder: Path) -> Entry:
    parts = [f"db_{part}.ff{kind}" for part in ("a3m", "hhm", "cs219") for kind in ("data", "index")]
    listed = {
        "path": "db",
        "format": "hhsuite",
        "tools": ["hhblits", "hhsearch"],
        "files": parts,
        "urls": [URL],
    }
    (made,) = preset(folder, listed)
    made.root.mkdir()
    for part in parts:
        shutil.copy(prefix.with_name(part), made.root / part)
    return made


@pytest.mark.needs("hhblits")
def test_a_database_of_hhsuite_is_sound_and_searched(clusters: Path, tmp_path: Path) -> None:
    findings = [str(finding) for finding in examine([entry(clusters, tmp_path)])]
    assert len(findings) == 3, findings
    assert "looks whole" in findings[0]
    assert "hhblits finds" in findings[1]
    assert "hhsearch finds" in findings[2]


def unsort(folder: Path) -> None:
    index = folder / "db_a3m.ffindex"
    index.write_bytes(b"".join(reversed(index.read_bytes().splitlines(keepends=True))))


def mismatch(folder: Path) -> None:
    """Indexes of the same data under other names, as after a release was half replaced."""
    index = folder / "db_cs219.ffindex"
    lines = [line.split(b"\t", 1) for line in index.read_bytes().splitlines(keepends=True)]
    index.write_bytes(b"".join(b"other%s\t%s" % (name, rest) for name, rest in lines))


@pytest.mark.needs("hhblits")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut("db_a3m.ffdata", 0.8), "db_a3m.ffdata has"),
        (cut("db_hhm.ffindex", 0.8), "db_hhm.ffindex"),
        (cut("db_cs219.ffdata", 0), "db_cs219.ffdata is empty"),
        (exchange("db_hhm.ffindex", "db_cs219.ffindex"), "index of other data"),
        (unsort, "not sorted by name"),
        (mismatch, "not of one database"),
    ],
    ids=["data cut", "index cut", "empty", "exchanged", "unsorted", "of another release"],
)
def test_a_damaged_database_of_hhsuite_is_found(
    clusters: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    damaged = entry(clusters, tmp_path)
    damage(damaged.root)
    faults = [finding for finding in examine([damaged], search=False) if finding.fault]
    assert said in "\n".join(finding.text for finding in faults)


@pytest.mark.needs("hhblits")
def test_every_record_of_a_sorted_index_is_found(clusters: Path) -> None:
    index = check_hhsuite.pair(clusters, "a3m")[1]
    lines = [line.split(b"\t") for line in index.read_bytes().splitlines()]
    assert len(lines) >= 4
    for name, offset, length in lines:
        assert check_hhsuite.find(index, name) == (int(offset), int(length))
        assert check_hhsuite.find(index, name + b"x") is None
    assert check_hhsuite.find(index, b"") is None
    assert check_hhsuite.find(index, b"\xff") is None
