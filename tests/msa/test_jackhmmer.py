"""jackhmmer step against the program itself, run by AlphaFold's own wrapper."""

from __future__ import annotations

import gzip
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard
from jackhmmer_reference import by_alphafold, chain, demo, preset, rows, searched

from snakefold.kernel.errors import SnakefoldError, TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.msa import a3m, jackhmmer, names, programs
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
SH3 = "MDETGKELVLALYDYQEKSPREVTMKKGDILTLLNSTNKDWWKVEVNDRQGFVPAAYVKKLD"
THIOREDOXIN = (
    "SDKIIHLTDDSFDTDVLKADGAILVDFWAEWCGPCKMIAPILDEIADEYQGKLTVAKLNIDQNPGTAPKYGIRGIPTLLLFKNGEVAATKVGALSKGQLKEFL"
    "DANLA"
)
GLOBIN = "LLVVYPWTQRFFESFGDLSTPDAVMGNPKVKAHGKKVLGAFSDGLAHLDNLKGTFATLSELHCDKLHVDPENFR"
WITH_X = UBIQUITIN[:40] + "XX" + UBIQUITIN[42:]
ORPHAN = "WCMHWCYHMWCHYMWPCHMWYCHWMPCYHWMCHYW"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory):
    """Stockholm text by AlphaFold's wrapper around the real program."""
    folder = tmp_path_factory.mktemp("theirs")
    return lambda sequence, database, limit=None: by_alphafold(sequence, database, folder, limit)


@pytest.mark.parametrize("block", [4_000_000, 60_000])
@pytest.mark.parametrize("threads", [1, 3])
def test_rows_are_those_of_the_program(
    theirs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, threads: int
) -> None:
    """In one block or twenty, by one thread or three: same rows, same order, same insertions."""
    monkeypatch.setattr(jackhmmer, "_BLOCK_RESIDUES", block)
    chains = [chain(each) for each in (UBIQUITIN, SH3, THIOREDOXIN, GLOBIN, WITH_X, ORPHAN)]
    ours = searched(chains, preset(demo()), tmp_path, threads)
    for each in chains:
        assert rows(ours[each.key].text) == rows(theirs(each.sequence, demo())), each.sequence
    assert ours[chains[0].key].found > 100
    assert ours[chains[-1].key].found == 0
    assert not ours[chains[-1].key].hits


@pytest.mark.parametrize("limit", [1, 2, 50, 10_000])
def test_limit_is_alphafolds(theirs, tmp_path: Path, limit: int) -> None:
    ours = searched([chain(SH3)], preset(demo(), limit), tmp_path)[sequence_key([SH3])]
    assert rows(ours.text) == rows(theirs(SH3, demo(), limit))
    assert ours.found > 100


def test_rows_that_the_limit_cuts_are_not_aligned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some 30 kB a row: a family of a million would take all memory before its first rows are chosen."""
    aligned: list[int] = []
    real = jackhmmer.stockholm
    monkeypatch.setattr(
        jackhmmer, "stockholm", lambda msa, rows: aligned.append(len(msa.names)) or real(msa, rows)
    )
    everything = searched([chain(SH3)], preset(demo()), tmp_path)[sequence_key([SH3])]
    for limit in (1, 2, 10, 50):
        ours = searched([chain(SH3)], preset(demo(), limit), tmp_path)[sequence_key([SH3])]
        names, sequences, _ = rows(everything.text)
        assert rows(ours.text)[:2] == (names[:limit], sequences[:limit])
        assert (ours.found, ours.hits) == (everything.found, everything.hits)
        # The last hit may have more domains than are wanted of it.
        assert limit <= aligned[-1] < limit + 5
    assert aligned[0] == everything.found + 1


def test_the_command_given_makes_the_same_rows(tmp_path: Path) -> None:
    ours = searched([chain(SH3)], preset(demo()), tmp_path)[sequence_key([SH3])]
    (tmp_path / "query.fasta").write_text(f">{sequence_key([SH3])}\n{SH3}\n")
    (command,) = ours.commands
    arguments = shlex.split(command)
    arguments[-1] = str(demo().resolve())
    assert arguments[0] == "jackhmmer"
    programs.run([programs.find("jackhmmer"), *arguments[1:]], tmp_path, lambda line: None)
    assert rows((tmp_path / "swissprot.sto").read_text()) == rows(ours.text)


def test_hits_have_identities_of_the_aligned_rows(tmp_path: Path) -> None:
    ours = searched([chain(UBIQUITIN)], preset(demo()), tmp_path)[sequence_key([UBIQUITIN])]
    best = ours.hits[0]
    assert (best.pident, best.alnlen) == (100.0, len(UBIQUITIN))
    assert [hit.evalue for hit in ours.hits] == sorted(hit.evalue for hit in ours.hits)
    assert all(hit.evalue <= 1e-4 for hit in ours.hits)
    assert {hit.target for hit in ours.hits} == {
        name.rpartition("/")[0] for name in a3m.parse_stockholm(ours.text).names[1:]
    }


def test_compressed_databases_give_the_same_rows(tmp_path: Path) -> None:
    plain = demo().read_bytes()
    (tmp_path / "db.fasta.gz").write_bytes(gzip.compress(plain, 1))
    (tmp_path / "db.fasta.zst").write_bytes(zstandard.compress(plain, 1))
    expected = searched([chain(SH3)], preset(demo()), tmp_path)[sequence_key([SH3])].text
    for name in ("db.fasta.gz", "db.fasta.zst"):
        assert searched([chain(SH3)], preset(tmp_path / name), tmp_path)[sequence_key([SH3])].text == expected


def test_odd_residues_and_names_in_the_database(theirs, tmp_path: Path) -> None:
    """U, O, B, Z, J, X, lower case, `*`, long headers and sequences longer than a block."""
    path = tmp_path / "odd.fasta"
    path.write_text(
        f">sp|P1|UB_HUMAN a description; with $(signs)\n{UBIQUITIN}\n"
        f">long {'x' * 5000}\n{'AGSTPN' * 3000}{UBIQUITIN}{'AGSTPN' * 3000}\n"
        f">odd/1-3\nUBZJOX{UBIQUITIN.lower()}\n"
        f">twice\n{UBIQUITIN}{'AGSTPN' * 10}{UBIQUITIN[:50]}GGG{UBIQUITIN[50:]}*\n"
    )
    ours = searched([chain(UBIQUITIN)], preset(path), tmp_path)[sequence_key([UBIQUITIN])]
    assert rows(ours.text) == rows(theirs(UBIQUITIN, path))
    assert ours.found >= 5


#: Latin-1, half of a character, and characters at which Python, unlike HMMER, ends a word or a line.
_ODD_NAMES = [b"caf\xe9_HUMAN", b"\xff\xfe", b"half\xc3", "a\u00a0b\u2028c\u0085d".encode(), b"e\x1cf"]


@pytest.mark.parametrize("packed", [False, True])
def test_names_that_are_no_utf_8(
    theirs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    """Records are taken under replaced names; all other rows are the program's."""
    monkeypatch.setattr(names, "_BLOCK", 1000)  # headers lie on every border
    records = [
        b">%s some \xe4 words\n%s\n" % (name, UBIQUITIN.encode()[k:]) for k, name in enumerate(_ODD_NAMES)
    ]
    nothing = b">no\xe9hit \xff\n%s\n" % (ORPHAN.encode() * 3)
    content = b"".join(records) + nothing + demo().read_bytes() + nothing
    path = tmp_path / ("odd.fasta.gz" if packed else "odd.fasta")
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    ours = searched([chain(UBIQUITIN)], preset(path), tmp_path)[sequence_key([UBIQUITIN])]
    replaced = content.decode("utf-8", "surrogateescape").encode("utf-8", "replace")
    for letter in ("\u00a0", "\u2028", "\u0085", "\x1c"):
        replaced = replaced.replace(letter.encode(), b"?")
    (tmp_path / "plain.fasta").write_bytes(replaced)
    assert rows(ours.text) == rows(theirs(UBIQUITIN, tmp_path / "plain.fasta"))
    found = {name.rpartition("/")[0] for name in a3m.parse_stockholm(ours.text).names}
    assert {"caf?_HUMAN", "??", "half?", "a?b?c?d", "e?f"} < found
    assert {hit.target for hit in ours.hits} == found - {""}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("db.fasta", b"no FASTA at all\n"),
        ("db.fasta", b">a\nAC1\x00\xff\n"),
        ("db.fasta.gz", gzip.compress(b">a\nACD\n" * 1000, mtime=0)[:-20]),
        ("db.fasta.zst", b"not zstd"),
    ],
)
def test_a_damaged_database_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SnakefoldError, match=rf"{name}: cannot be read as FASTA .*get the database again"):
        jackhmmer.search([chain(SH3)], preset(tmp_path / name), MsaSettings(), tmp_path, lambda line: None)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: data[:-8] + b"\0\0\0\0" + data[-4:], "compressed data are damaged: CRC check failed"),
        (lambda data: data[: len(data) // 2] + bytes(9) + data[len(data) // 2 + 9 :], "data are damaged"),
    ],
)
@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_damaged_archive_is_told_in_words(
    tmp_path: Path, spoil: Callable[[bytes], bytes], said: str, kind: str
) -> None:
    compress = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor(write_checksum=True).compress}[kind]
    path = tmp_path / f"db.fasta.{kind}"
    path.write_bytes(spoil(compress(demo().read_bytes())))
    with pytest.raises(SnakefoldError, match=f"{path.name}: cannot be read as FASTA") as caught:
        searched([chain(SH3)], preset(path), tmp_path)
    text = str(caught.value)
    assert said.partition(":")[0] in text
    assert "Error" not in text.replace("ZstdError", "")
    assert len(text) < 500


@pytest.mark.parametrize("sequence", ["", "AC1"])
def test_one_chains_failure_does_not_lose_the_others(tmp_path: Path, sequence: str) -> None:
    broken = PlannedChain.model_construct(key="0" * 64, sequence=sequence)
    found = jackhmmer.search([broken, chain(SH3)], preset(demo()), MsaSettings(), tmp_path, lambda line: None)
    failed, good = found[broken.key], found[sequence_key([SH3])]
    assert isinstance(failed, TargetError)
    assert "jackhmmer: swissprot" in str(failed)
    assert not isinstance(good, TargetError)
    assert good[0].found > 100


@pytest.mark.parametrize("sequence", ["A", "XXXXXXXXXXXXXXXXXXXX", "Q" * 60])
def test_odd_queries(theirs, tmp_path: Path, sequence: str) -> None:
    ours = searched([chain(sequence)], preset(demo()), tmp_path)[sequence_key([sequence])]
    assert rows(ours.text) == rows(theirs(sequence, demo()))


def test_nothing_to_do(tmp_path: Path) -> None:
    assert jackhmmer.search([], preset(demo()), MsaSettings(), tmp_path, lambda line: None) == {}


def test_the_database_is_read_once_for_all_chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = jackhmmer.opened
    monkeypatch.setattr(jackhmmer, "opened", lambda path: opened.append(path) or real(path))
    searched([chain(each) for each in (UBIQUITIN, SH3, THIOREDOXIN)], preset(demo()), tmp_path)
    assert opened == [demo()]


def test_hmmer_sees_little_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hits and what comes close to one; most of what has nothing to do with a query is left out before."""
    seen: Counter[str] = Counter()
    real = jackhmmer._hits

    def counted(query: Any, sequences: Sequence[Any], pipelines: Any) -> Any:
        seen[query.chain.sequence] += len(sequences)
        return real(query, sequences, pipelines)

    monkeypatch.setattr(jackhmmer, "_hits", counted)
    ours = searched([chain(SH3), chain(ORPHAN)], preset(demo()), tmp_path)
    sequences = demo().read_text().count(">")
    assert 0 < seen[ORPHAN] < 0.01 * sequences
    assert ours[chain(SH3).key].found < 2 * seen[SH3] < 0.5 * sequences
