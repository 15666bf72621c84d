"""At the start of a run: batches that wait for alignments that the store has lost, or whose search failed."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from planning import MSA_RECIPE, PAIRED_RECIPE, VIL, plan
from sequence_files import CRN, UBQ, write

from snakefold.kernel.errors import StoreError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.kernel.store.folder import FolderStore
from snakefold.plan.files import read_rows
from snakefold.plan.mark import is_marked, write_mark
from snakefold.run.alignments import FAILED, GONE, unaligned
from snakefold.run.mend import mend

#: `a` is stored with its alignment, `b` is searched, and so are the chains of the complex `d`, for pairing.
SET = f">a\n{UBQ}\n>b\n{CRN}A\n>d\n{CRN}:{VIL}\n"
A, B, D = (
    Entry("msa", MSA_RECIPE, sequence_key([UBQ])),
    Entry("msa", MSA_RECIPE, sequence_key([f"{CRN}A"])),
    Entry("msa", PAIRED_RECIPE, sequence_key([CRN])),
)


class Results:
    """A run that was ended when its chunks were searched, before a request was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store = open_store(folder / "store")
        self.said: list[str] = []
        self.set = write(folder, "set.fasta", SET)
        self.store.put(A, b"alignment")
        self.plan()
        self.search()

    def plan(self) -> None:
        plan(self.set, self.folder / "plan", self.store)
        write_mark(self.folder / "plan" / "contents" / "0123456789abcdef", self.folder / "plan")

    def search(self, store: Store | None = None, failed: tuple[Entry, ...] = ()) -> None:
        """What rule msa does, chunk by chunk."""
        for path in (self.folder / "plan" / "chunks").iterdir():
            chunk = json.loads(path.read_text())
            keys = {each["key"] for each in chunk["chains"]}
            for key in keys - {entry.key for entry in failed}:
                (store or self.store).put(Entry("msa", chunk["recipe"], key), b"alignment")
            said = {entry.key: "no hit" for entry in failed if entry.key in keys}
            write(self.folder, f"msa/{path.name}", json.dumps({"failed": said}))

    def found(self) -> dict[str, str]:
        return {name: why for name, _, why in unaligned(self.folder, lambda: self.store)}

    def mend(self, *, dry: bool = False) -> None:
        self.said.clear()
        mend(self.folder, str(self.folder / "store"), self.said.append, dry=dry)

    def request(self) -> None:
        for row in read_rows(self.folder / "plan"):
            for name in ("request.json", "inputs.tar.zst"):
                write(self.folder, f"requests/{row.batch}/{name}", "")

    def files(self) -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in self.folder.rglob("*") if path.is_file()}

    @property
    def notes(self) -> list[list[str]]:
        path = self.folder / "lost.tsv"
        return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


def test_alignments_that_are_there_are_left_alone(results: Results) -> None:
    before = results.files()
    results.mend()
    assert (results.files(), results.said) == (before, [])


@pytest.mark.parametrize(("entry", "targets"), [(A, {"a"}), (B, {"b"}), (D, {"d"})])
def test_a_lost_alignment_is_planned_again(results: Results, entry: Entry, targets: set[str]) -> None:
    """Stored when the plan was made, searched by a chunk of it, and for pairing."""
    results.store.remove(entry)
    before = results.files()
    results.mend(dry=True)
    assert results.files() == before
    results.mend()
    (line,) = results.said
    (target,) = targets
    assert line.startswith(f"1 target ({target}): {GONE}; is planned again")
    assert [[name, why] for name, _, why in results.notes] == [[target, GONE]]
    assert not is_marked(results.folder / "plan")
    # The next plan has it searched, and nothing else. No summary of before stands in the way.
    results.plan()
    (path,) = (results.folder / "plan" / "chunks").iterdir()
    assert [each["key"] for each in json.loads(path.read_text())["chains"]] == [entry.key]
    assert not (results.folder / "msa" / path.name).exists()
    results.search()
    assert results.found() == {}


def test_a_chunk_that_looks_as_before_is_searched_again(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.set = write(tmp_path, "set.fasta", f">b\n{CRN}A\n")
    for _ in range(2):
        results.store.remove(B)
        results.plan()
        chunk = tmp_path / "plan" / "chunks" / "m0001.json"
        written = chunk.stat().st_mtime_ns
        assert not (tmp_path / "msa" / "m0001.json").exists()
        results.search()
    assert chunk.stat().st_mtime_ns == written


def test_what_is_still_to_be_searched_is_not_lost(results: Results) -> None:
    for entry in (B, D):
        results.store.remove(entry)
    for path in (results.folder / "msa").iterdir():
        path.unlink()
    assert results.found() == {}


def test_a_request_that_is_made_has_its_alignments(results: Results) -> None:
    results.request()
    results.store.remove(A)
    assert results.found() == {}
    for path in (results.folder / "requests").glob("*/request.json"):
        os.utime(path, (1, 1))
    assert results.found() == {"a": GONE}, "older than the batch: it is made again"
    for path in (results.folder / "requests").glob("*/request.json"):
        path.unlink()
    assert results.found() == {"a": GONE}


@pytest.mark.parametrize("made", ["tables/{}.parquet", "predictions/{}.tar.zst"])
def test_what_is_predicted_needs_none(results: Results, made: str) -> None:
    for row in read_rows(results.folder / "plan"):
        write(results.folder, made.format(row.batch), "")
    results.store.remove(A)
    assert results.found() == {}


def test_what_the_store_did_not_take_is_not_lost(results: Results) -> None:
    for entry in (B, D):
        results.store.remove(entry)
    assert set(results.found()) == {"b", "d"}
    results.search(open_store(results.folder / "msa" / ".unstored"))
    assert results.found() == {}


def test_a_search_that_failed_is_planned_again(results: Results) -> None:
    results.store.remove(B)
    results.search(failed=(B,))
    assert results.found() == {"b": FAILED}
    results.request()
    assert results.found() == {"b": FAILED}, "the request carries the failure"


def test_a_damaged_summary_counts_for_nothing(results: Results) -> None:
    for path in (results.folder / "msa").iterdir():
        path.write_text("{")
    assert results.found() == {"b": FAILED, "d": FAILED}


def test_templates_are_missed_too(results: Results) -> None:
    templates = Entry("templates", "5" * 16, A.key)
    for path in (results.folder / "plan" / "batches").iterdir():
        batch = json.loads(path.read_text())
        path.write_text(json.dumps(batch | {"templates": templates.recipe}))
    for sequence in (UBQ, f"{CRN}A", CRN, VIL):
        results.store.put(Entry("templates", templates.recipe, sequence_key([sequence])), b"templates")
    assert results.found() == {}
    results.store.remove(templates)
    assert results.found() == {"a": GONE}


def test_many_chains_cost_one_listing_of_each_recipe(tmp_path: Path) -> None:
    asked: Counter[str] = Counter()

    class Counting(FolderStore):
        def keys(self, kind: str, recipe: str) -> set[str]:
            asked["keys"] += 1
            return super().keys(kind, recipe)

        def has(self, entry: Entry) -> bool:
            asked["has"] += 1
            return super().has(entry)

    store = Counting(tmp_path / "store")
    chains = [f"{UBQ}{first}{second}" for first in "ACDEFGHIKL" for second in "ACDEFGHIKL"]
    entries = [Entry("msa", MSA_RECIPE, sequence_key([chain])) for chain in chains]
    for entry in entries:
        store.put(entry, b"alignment")
    text = "".join(f">t{number}\n{chain}\n" for number, chain in enumerate(chains))
    plan(write(tmp_path, "set.fasta", text), tmp_path / "plan", store)
    store.remove(entries[7])
    asked.clear()
    assert [name for name, _, _ in unaligned(tmp_path, lambda: store)] == ["t7"]
    assert asked == {"keys": 1}


def test_a_store_that_is_away_stops_no_run(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> bool:
        raise StoreError("the bucket is away")

    monkeypatch.setattr(FolderStore, "has", away)
    results.mend()
    assert results.said == [
        f"{results.folder}: alignments that may be lost were not looked for: the bucket is away"
    ]
    assert not results.notes and is_marked(results.folder / "plan")
