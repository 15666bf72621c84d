"""The MMseqs2 endpoint with the real program and the demo's database."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snakefold.kernel.errors import DatabaseMissingError, InputError
from snakefold.kernel.paths import house
from snakefold.kernel.unchanged import ChangedError
from snakefold.msa.programs import ProgramError
from snakefold.worker import mmseqs
from snakefold.worker.endpoints import BuildRequest, ClusterRequest, InvalidInput, SearchRequest
from snakefold.worker.endpoints.mmseqs2 import SearchResponse, SearchTexts
from snakefold.worker.failures import JobError
from snakefold.worker.mmseqs import beside, find, is_ready, read_sequences, search
from snakefold.worker.mmseqs_answers import given_names
from snakefold.worker.mmseqs_build import build
from snakefold.worker.mmseqs_cluster import cluster
from snakefold.worker.mmseqs_lock import writing
from snakefold.worker.settings import read_settings
from snakefold.worker.tasks import Context, new_context
from tests.worker.conftest import data_of

DEMO = house() / "resources" / "demo" / "database" / "swissprot.fasta"
#: Human ubiquitin; the demo's database has its relatives.
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"

UNIPROT = f">sp|P99999|MINE_RABIT Ubiquitin\n{UBIQUITIN}\n"


@pytest.fixture(scope="module")
def swissprot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of databases with the demo's, built by the endpoint's own task."""
    root = tmp_path_factory.mktemp("databases")
    context = context_of(root, root)
    made = build(
        BuildRequest(
            task="build", target_db="swissprot", target_fasta=DEMO.read_text() + UNIPROT, use_gpu=True
        ),
        context,
    )
    assert made.built
    assert made.padded
    return root


def context_of(folder: Path, root: Path | None, lines: list[str] | None = None, **more: str) -> Context:
    """A worker's settings with databases in `root` and its store in `folder`."""
    given = {"SNAKEFOLD_STORE": str(folder / "store"), "RUNPOD_VOLUME_PATH": str(folder / "volume"), **more}
    if root is not None:
        given["MMSEQS_DB_ROOT"] = str(root)
    context = new_context(read_settings({**given, "SNAKEFOLD_THREADS": "2"}))
    context.log = (lines if lines is not None else []).append
    return context


def query(**changes: Any) -> SearchRequest:
    given = {"task": "search", "query_fasta": f">ubi|1 human\n{UBIQUITIN}\n", "target_db": "swissprot"}
    return SearchRequest.model_validate(given | {"version": 1} | changes)


def test_hits_alignments_and_commands(swissprot: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    answer = search(query(return_a3m=True), context_of(tmp_path, swissprot, lines))
    assert isinstance(answer, SearchResponse)
    header, *rows = data_of(answer.tsv.model_dump(exclude_none=True)).decode().splitlines()
    assert header == "query\ttarget\tevalue\tpident\talnlen"
    assert answer.hits == len(rows) > 3
    fields = [row.split("\t") for row in rows]
    assert {row[0] for row in fields} == {"ubi_1"}
    # mmseqs alone would call it P99999.
    assert "sp|P99999|MINE_RABIT" in {row[1] for row in fields}
    assert all(float(row[2]) < 1e-3 and 0 < float(row[3]) <= 100 and int(row[4]) > 20 for row in fields)
    assert answer.a3m is not None
    text = data_of(answer.a3m["ubi_1"].model_dump(exclude_none=True)).decode()
    names = [line[1:].split("\t")[0] for line in text.splitlines() if line.startswith(">")]
    assert names == ["ubi_1", *(row[1] for row in fields)]
    columns = {
        len("".join(c for c in line if not c.islower())) for line in text.splitlines() if line[0] != ">"
    }
    assert columns == {len(UBIQUITIN)}
    modules = [command.split()[:2] for command in answer.commands]
    assert modules == [
        ["mmseqs", name] for name in ("createdb", "search", "convertalis", "result2msa", "unpackdb")
    ]
    assert [f"$ {command}" for command in answer.commands] == [
        line for line in lines if line.startswith("$ ")
    ]


def test_texts_have_parts_besides_for_those_who_read_parts(swissprot: Path, tmp_path: Path) -> None:
    """A request that does not say which form is meant is answered in both."""
    context = context_of(tmp_path, swissprot)
    parts = search(query(return_a3m=True), context)
    texts = search(query(return_a3m=True, version=None), context)
    assert isinstance(parts, SearchResponse) and isinstance(texts, SearchTexts)
    assert (texts.version, texts.files["tsv"], texts.a3m) == (2, parts.tsv, parts.a3m)
    table = str(parts.tsv.text).replace("ubi_1\t", "ubi|1\t")
    assert table == "\t".join(texts.columns) + "\n" + texts.tsv
    alone = search(query(return_a3m=True, version=2), context)
    assert isinstance(alone, SearchTexts)
    assert (alone.tsv, alone.a3m_gz_b64, alone.a3m, alone.files) == (texts.tsv, texts.a3m_gz_b64, None, {})


def test_what_is_too_large_for_an_answer_says_where_it_is(swissprot: Path, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    context = context_of(tmp_path, swissprot)
    context.transfer.inline_left = -(10 << 20)
    with pytest.raises(JobError, match=r"^invalid_input: tsv: \d+ bytes \(sha256 \w+\) .* is at path snake"):
        search(query(version=2, return_a3m=True), context)
    placeless = context_of(tmp_path, swissprot, RUNPOD_VOLUME_PATH=str(tmp_path / "none"))
    with pytest.raises(JobError, match=r"a3m_gz_b64: \d+ bytes are more than a3m_max_return_bytes \(9\)"):
        search(query(version=None, return_a3m=True, a3m_max_return_bytes=9), placeless)


def test_names_are_those_of_the_fasta_each_once() -> None:
    fasta = "".join(f">{name}\nMKTAY\n" for name in ("a", "a-2 x", "a", "A", "sp|P1|X_Y z", "a"))
    names, changed = given_names(read_sequences(fasta, "f"))
    assert names == ["a", "a-2", "a-3", "A", "sp|P1|X_Y", "a-4"]
    assert [text.split(":")[0] for text in changed] == ["a", "a"]
    _, replaced = given_names(read_sequences(">s\nMKTUAY\n", "f"))
    assert replaced == ["s: U→C at 1 place"]


def test_a_search_without_hits_and_a_cluster_of_one(swissprot: Path, tmp_path: Path) -> None:
    context = context_of(tmp_path, swissprot)
    nothing = search(query(query_fasta=f">n\n{'W' * 40}\n", return_a3m=True, version=2), context)
    assert isinstance(nothing, SearchTexts)
    assert (nothing.tsv, nothing.hits) == ("", 0)
    packed = base64.b64decode(str(nothing.a3m_gz_b64))
    assert gzip.decompress(packed).decode() == f">n\n{'W' * 40}\n"
    request = ClusterRequest(task="cluster", sequences_fasta=f">one two\n{UBIQUITIN}\n")
    alone = cluster(request, context)
    assert (alone.cluster_tsv, alone.representatives_fasta, alone.clusters) == ("one\tone\n", None, 1)
    # What was clustered before is not clustered again to give the representatives too.
    lines: list[str] = []
    again = request.model_copy(update={"return_representatives": True})
    given = cluster(again, context_of(tmp_path, swissprot, lines))
    assert given.representatives_fasta == f">one\n{UBIQUITIN}\n"
    assert not any(line.startswith("$ ") for line in lines)


def test_limits_and_names_of_several_queries(swissprot: Path, tmp_path: Path) -> None:
    fasta = f">a\n{UBIQUITIN}\n>a\n{UBIQUITIN[5:60]}\n>nothing\n{'W' * 40}\n"
    answer = search(query(query_fasta=fasta, max_seqs=2), context_of(tmp_path, swissprot))
    rows = [row.split("\t")[0] for row in str(answer.tsv.text).splitlines()[1:]]
    assert (answer.queries, set(rows)) == (3, {"a", "a-2"})
    assert rows.count("a") == rows.count("a-2") == 2
    assert answer.a3m is None


def test_the_same_search_is_answered_from_the_store(swissprot: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    first = search(query(), context_of(tmp_path, swissprot))
    again = search(query(threads=1), context_of(tmp_path, swissprot, lines))
    assert (again.tsv, again.commands, again.digest) == (first.tsv, first.commands, first.digest)
    assert not any(line.startswith("$ ") for line in lines)
    # Another database under the same name is another search.
    other = tmp_path / "other"
    build(
        BuildRequest(task="build", target_db="swissprot", target_fasta=">x\n" + "MKTAYIAKQR" * 5),
        context_of(tmp_path, other),
    )
    assert search(query(), context_of(tmp_path, other)).hits == 0


def test_a_database_that_changes_during_the_search_is_not_answered_for(
    swissprot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(swissprot, copy)
    monkeypatch.setattr(mmseqs, "_search", lambda *_: (copy / "swissprot.index").touch() or {})
    context = context_of(tmp_path, copy)
    with pytest.raises(ChangedError, match=r"swissprot\.index"):
        search(query(), context)
    assert not list(context.store.listing("response"))


def test_databases_are_found_in_order(swissprot: Path, tmp_path: Path) -> None:
    volume = tmp_path / "volume" / "mmseqsdb"
    volume.mkdir(parents=True)
    for file in swissprot.glob("swissprot*"):
        (volume / file.name).write_bytes(file.read_bytes())
    assert search(query(), context_of(tmp_path, None)).database == str(volume / "swissprot")
    assert search(query(), context_of(tmp_path, swissprot)).database == str(swissprot / "swissprot")
    with pytest.raises(DatabaseMissingError, match="/opt/mmseqs/data/mmseqsdb"):
        search(query(target_db="uniref30"), context_of(tmp_path, swissprot))


def test_the_gpu_searches_padded_databases_only(swissprot: Path, tmp_path: Path) -> None:
    roots = context_of(tmp_path, swissprot).settings.mmseqs_roots
    assert mmseqs.find_padded("swissprot", roots) == swissprot / "swissprot_pad"
    assert mmseqs.find_padded("swissprot_pad", roots) == swissprot / "swissprot_pad"
    build(
        BuildRequest(task="build", target_db="plain", target_fasta=f">x\n{UBIQUITIN}"),
        context_of(tmp_path, swissprot),
    )
    with pytest.raises(DatabaseMissingError, match="makepaddedseqdb plain plain_pad"):
        search(query(target_db="plain", use_gpu=True), context_of(tmp_path, swissprot))
    # What is padded can be searched without a GPU as well.
    assert search(query(target_db="swissprot_pad"), context_of(tmp_path, swissprot)).hits > 3


def test_the_gpu_is_asked_with_the_padded_database(swissprot: Path, tmp_path: Path) -> None:
    """A program without CUDA says so: what matters here is what it was asked."""
    lines: list[str] = []
    with contextlib.suppress(ProgramError):
        search(query(use_gpu=True), context_of(tmp_path, swissprot, lines))
    (line,) = [line for line in lines if line.startswith("$ mmseqs search ")]
    assert f" {swissprot / 'swissprot_pad'} " in line
    assert " --gpu 1 " in line


def test_folders_are_looked_through_in_order(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    roots = context_of(tmp_path, tmp_path / "own").settings.mmseqs_roots
    image = Path("/opt/mmseqs/data/mmseqsdb")
    assert roots == [tmp_path / "own", tmp_path / "volume" / "mmseqsdb", image]
    assert context_of(tmp_path, None).settings.mmseqs_roots == roots[1:]
    unset = read_settings({"SNAKEFOLD_STORE": str(tmp_path)})
    mounted = [Path("/runpod-volume/mmseqsdb")] if Path("/runpod-volume").is_dir() else []
    assert unset.mmseqs_roots == [*mounted, image]


def test_readiness(tmp_path: Path) -> None:
    prefix = tmp_path / "db"
    assert not is_ready(prefix)
    beside(prefix, ".dbtype").touch()
    assert is_ready(prefix)
    beside(prefix, ".lock").mkdir()
    assert not is_ready(prefix)
    with pytest.raises(DatabaseMissingError, match="is being built"):
        find("db", [tmp_path])
    beside(prefix, ".ready").touch()
    assert is_ready(prefix)


def test_building_twice_is_building_once(tmp_path: Path) -> None:
    lines: list[str] = []
    context = context_of(tmp_path, tmp_path / "root", lines)
    request = BuildRequest(
        task="build", target_db="mine", target_fasta=f">one\n{UBIQUITIN}\n>two\n{UBIQUITIN[::-1]}\n"
    )
    first, again = build(request, context), build(request, context)
    assert (first.built, first.sequences) == (True, 2)
    assert (again.built, again.commands, again.sha256) == (False, [], first.sha256)
    with pytest.raises(InvalidInput, match="another database has the name 'mine'"):
        build(request.model_copy(update={"target_fasta": ">a\nMKTAYIAKQR"}), context)
    names = {path.name for path in (tmp_path / "root").iterdir()}
    assert not {name for name in names if ".lock" in name or ".building" in name or name.startswith(".")}
    facts = json.loads((tmp_path / "root" / "mine.ready").read_text())
    assert facts["sequences"] == 2


def test_a_copied_database_is_not_written_over(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "theirs.dbtype").write_bytes(b"\0\0\0\0")
    with pytest.raises(InvalidInput, match="another database has the name"):
        build(
            BuildRequest(task="build", target_db="theirs", target_fasta=">a\nMKTAYIAKQR"),
            context_of(tmp_path, root),
        )


def test_what_a_dead_writer_left_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    (root / "mine.lock").mkdir(parents=True)
    (root / "mine.building" / "made").mkdir(parents=True)
    (root / "mine.dbtype").write_bytes(b"half")
    an_hour_ago = time.time() - 3600
    os.utime(root / "mine.lock", (an_hour_ago, an_hour_ago))
    request = BuildRequest(task="build", target_db="mine", target_fasta=f">one\n{UBIQUITIN}\n")
    assert build(request, context_of(tmp_path, root)).built
    assert search(query(target_db="mine"), context_of(tmp_path, root)).hits == 1


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        with writing(tmp_path / "db", timeout=30):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.05)
            inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    with (
        writing(tmp_path / "db", timeout=1),
        pytest.raises(TimeoutError),
        writing(tmp_path / "db", timeout=0.1),
    ):
        pass


@pytest.mark.parametrize(
    ("fasta", "expected"),
    [
        (f">a\n{UBIQUITIN}:{UBIQUITIN}\n", InvalidInput),
        (">a\nMK1\n", InputError),
        ("no fasta at all", InputError),
        (">a\n\n", InputError),
    ],
)
def test_queries_that_are_none(
    swissprot: Path, tmp_path: Path, fasta: str, expected: type[Exception]
) -> None:
    with pytest.raises(expected) as caught:
        search(query(query_fasta=fasta), context_of(tmp_path, swissprot))
    assert str(tmp_path) not in str(caught.value)
    assert "query_fasta" in str(caught.value)


@pytest.mark.slow
def test_a_large_answer_is_a_manifest(worker: Callable[..., dict[str, Any]]) -> None:
    """Forty alignments of four hundred relatives: more than RunPod takes back."""
    relatives = "".join(f">r{n}\n{'MKTAYIAKQRQISFVKSH' * 16}{n % 10 * 'W'}\n" for n in range(400))
    queries = "".join(f">q{n}\n{'MKTAYIAKQRQISFVKSH' * 16}{n * 'A'}\n" for n in range(40))
    built = worker(task="build", target_db="many", target_fasta=relatives)
    assert built["sequences"] == 400
    answer = worker(task="search", target_db="many", query_fasta=queries, max_seqs=400, return_a3m=True)
    parts = list(answer["a3m"].values())
    assert sum(part["size"] for part in parts) > 4 << 20
    assert len(json.dumps(answer)) < 4 << 20
    stored = [part for part in parts if part.get("stored")]
    assert stored
    volume = worker.folder / "volume"  # type: ignore[attr-defined]
    assert all((volume / part["path"]).stat().st_size == part["size"] for part in stored)
