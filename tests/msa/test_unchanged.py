"""What is stored is named by what was read: files that change after the plan, before or during a search."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from families import chain

from snakefold import cli
from snakefold.config import Config, load_config
from snakefold.kernel.store import Entry, open_store
from snakefold.kernel.unchanged import ChangedError
from snakefold.msa import jackhmmer
from snakefold.msa.chunk import search_to_store
from snakefold.msa.databases.presets import load_preset
from snakefold.msa.planned import PlannedChunk, read_chunk
from snakefold.plan.files import PlannedBatch, read_batch
from snakefold.plan.run import plan_run

UBIQUITIN = chain("MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG")


def silent(line: str) -> None:
    """A log nobody reads."""


class House:
    """A planned run with databases of its own."""

    def __init__(self, folder: Path) -> None:
        demo = load_preset("demo").root
        self.folder, self.root = folder, folder / "db"
        self.root.mkdir()
        for name in ("swissprot.fasta", "uniprot.fasta"):
            (self.root / name).write_bytes((demo / name).read_bytes())
        self.database = self.root / "swissprot.fasta"
        self.config_file = folder / "config.yaml"
        (folder / "set.fasta").write_text(f">ubiquitin\n{UBIQUITIN.sequence}\n")
        self.config: Config = load_config(
            {
                "input": str(folder / "set.fasta"),
                "store": str(folder / "store"),
                "weights": "rehearsal",
                "rehearsal": {"blocks": 1, "models": [1]},
                "msa": {"db_preset": "demo", "db_root": str(self.root), "threads": 1},
            }
        )
        self.config_file.write_text(json.dumps(self.config.model_dump(mode="json")))
        self.plan_again()

    def plan_again(self) -> None:
        plan_run(self.config, self.folder / "plan", silent)

    @property
    def chunk(self) -> PlannedChunk:
        return read_chunk(self.folder / "plan", "m0001")

    @property
    def batch(self) -> PlannedBatch:
        (path,) = (self.folder / "plan" / "batches").iterdir()
        return read_batch(self.folder / "plan", path.stem)

    def search(self, chunk: PlannedChunk | None = None) -> dict[str, Any]:
        work = self.folder / "work"
        return search_to_store(chunk or self.chunk, self.config.msa, self.stored, work, silent)

    @property
    def stored(self) -> Any:
        return open_store(self.folder / "store")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.chdir(tmp_path)
    return House(tmp_path)


def cut(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text[: text.index(b"\n>", len(text) // 9) + 1])


def test_a_database_that_changed_after_the_plan_is_not_searched(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    planned, size = house.chunk.recipe, house.database.stat().st_size
    cut(house.database)
    out = house.folder / "m0001.json"
    command = ["msa", str(house.folder / "plan" / "chunks" / "m0001.json"), "--out", str(out)]
    assert cli.main([*command, "--config", str(house.config_file)]) == 2
    said = capsys.readouterr().err
    assert str(house.database) in said
    assert f"{house.database.stat().st_size} bytes" in said
    assert f"not {size} bytes" in said
    assert "uniprot" not in said
    assert "Run again: a new plan is made." in said
    assert not out.exists()
    assert not list(house.stored.listing("msa"))
    # Planned anew, it is searched under another name.
    house.plan_again()
    assert house.chunk.recipe != planned
    assert house.search()["searched"] == [UBIQUITIN.key]


def test_a_plan_of_an_older_release_is_held_to_its_names(house: House) -> None:
    older = house.chunk.model_copy(update={"depends_on": {}})
    cut(house.database)
    with pytest.raises(ChangedError, match=rf"newest file is {house.database}"):
        house.search(older)
    assert not list(house.stored.listing("msa"))


def test_an_alignment_that_was_lost_is_not_searched_in_another_database(house: House) -> None:
    house.search()
    house.stored.remove(Entry("msa", house.chunk.recipe, UBIQUITIN.key))
    cut(house.database)
    with pytest.raises(ChangedError, match="Run again"):
        house.search()
    assert not list(house.stored.listing("msa"))


def in_the_middle(path: Path) -> None:
    """Same size, same ends, same time of the content: only the time of the entry tells."""
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(before.st_size // 2)
        letter = stream.read(1)
        stream.seek(before.st_size // 2)
        stream.write(b"A" if letter != b"A" else b"C")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def renamed_over(path: Path) -> None:
    """Another file of the same size, ends and time of the content takes its place."""
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    in_the_middle(other)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize("change", [cut, in_the_middle, renamed_over, Path.unlink])
def test_a_database_that_changes_during_the_search_spoils_it(
    house: House, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    real = jackhmmer.search_database

    def search_database(chains: Any, database: Any, *rest: Any) -> Any:
        found = real(chains, database, *rest)
        change(house.database)
        return found

    monkeypatch.setattr(jackhmmer, "search_database", search_database)
    # Larger than what a fingerprint reads, so that its middle is not looked at.
    with house.database.open("ab") as stream:
        stream.write(b">filler\n" + b"AGST" * (600 << 10) + b"\n")
    house.plan_again()
    with pytest.raises(ChangedError, match=r"swissprot\.fasta"):
        house.search()
    assert not list(house.stored.listing("msa"))


def test_what_is_stored_needs_no_database(house: House) -> None:
    """A store and an interrupted results folder go on, whatever became of the database."""
    house.search()
    house.database.unlink()
    assert house.search()["stored"] == [UBIQUITIN.key]
