"""What is removed after its time, and what never is."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from snakefold.service import records
from snakefold.service.records import State
from snakefold.service.sets import folder as sets
from snakefold.service.settings import ServiceSettings
from snakefold.service.sweep import ORPHAN, sweep

DAY = 86_400


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(folder=tmp_path, results=30.0)


def record(settings: ServiceSettings, days: float | None = None) -> Path:
    """A record that is open, or that ended so many days ago."""
    folder = records.create(settings.folder / "jobs", "job", "ada").folder
    (folder / "output.json").write_text("{}")
    if days is not None:
        records.end(folder, State.DONE)
        path = folder / "end.json"
        said = json.loads(path.read_text())
        path.write_text(json.dumps({**said, "ended": time.time() - days * DAY}))
    return folder


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_what_ended_long_ago_is_removed_and_nothing_else(settings: ServiceSettings) -> None:
    old, young, open_ = record(settings, 31), record(settings, 29), record(settings)
    age(open_, 400 * DAY)
    age(open_ / "record.json", 400 * DAY)
    assert sweep(settings) == 1
    assert [old.exists(), young.exists(), open_.exists()] == [False, True, True]
    assert [each.id for each in records.still_open(settings.folder / "jobs")] == [open_.name]
    assert sweep(settings) == 0


def test_what_was_reopened_is_open(settings: ServiceSettings) -> None:
    folder = record(settings, 31)
    records.reopen(folder)
    assert sweep(settings) == 0
    assert folder.exists()


def test_keep_keeps(settings: ServiceSettings) -> None:
    folder = record(settings, 10_000)
    assert sweep(settings.model_copy(update={"results": "keep"})) == 0
    assert folder.exists()


def test_what_a_crash_left_is_removed_once_nobody_writes_it(settings: ServiceSettings) -> None:
    root = settings.folder / "jobs"
    record(settings)
    half, new = root / records.new_id(), root / records.new_id()
    for folder in (half, new):
        folder.mkdir()
        (folder / "input.json").write_text("{}")
        (root / ".open" / folder.name).touch()
    age(half, ORPHAN + 60)
    age(root / ".open" / half.name, ORPHAN + 60)
    lone = root / ".open" / records.new_id()
    lone.touch()
    age(lone, ORPHAN + 60)
    going = root / f".going-{records.new_id()}"
    going.mkdir()
    assert sweep(settings) == 0
    assert [half.exists(), new.exists(), lone.exists(), going.exists()] == [False, True, False, False]
    assert (root / ".open" / new.name).exists()
    assert not (root / ".open" / half.name).exists()


def test_what_is_no_record_and_what_is_damaged_stays(settings: ServiceSettings) -> None:
    damaged = record(settings, 31)
    (damaged / "record.json").write_text("{")
    other = settings.folder / "jobs" / "Notes of somebody"
    other.mkdir()
    age(other, 400 * DAY)
    assert sweep(settings) == 0
    assert damaged.exists()
    assert other.exists()


def sent(settings: ServiceSettings, quoted: float | None, ran: float | None = None) -> Path:
    """A set whose quote, and whose run, ended so many days ago; None: that is open, or was never begun."""
    name = sets.new_id()
    folder = settings.folder / sets.SETS / name
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "metrics.tsv").write_text("id\n")
    created = time.time() - 1000 * DAY
    sets.write(sets.Set(folder, user="ada", name="", created=created, inputs=("input/a.fasta",)), settings)
    for kind, days in (("quote", quoted), ("run", ran)):
        if kind == "run" and ran is None:
            continue
        made = records.create(settings.folder / f"{kind}s", kind, "ada", name=name).folder
        if days is not None and days >= 0:
            records.end(made, State.DONE)
            said = json.loads((made / "end.json").read_text())
            (made / "end.json").write_text(json.dumps({**said, "ended": time.time() - days * DAY}))
    return folder


def test_a_set_goes_with_its_records_and_never_while_it_runs(settings: ServiceSettings) -> None:
    old, young, waits, runs = (
        sent(settings, 90, 31),
        sent(settings, 90, 29),
        sent(settings, None),
        sent(settings, 90, -1),
    )
    never_accepted = sent(settings, 31)
    assert sweep(settings) == 2
    assert [each.exists() for each in (old, never_accepted)] == [False, False]
    assert all((each / "results" / "metrics.tsv").exists() for each in (young, waits, runs))
    for gone in (old, never_accepted):
        assert sets.read(settings, gone.name) is None
        assert sets.quote_record(settings, gone.name) is None
    for kept in (young, waits, runs):
        assert sets.quote_record(settings, kept.name) is not None
    assert set(sets.ids_of(settings, "ada")) == {each.name for each in (young, waits, runs)}
    assert sweep(settings.model_copy(update={"results": "keep"}), time.time() + 9999 * DAY) == 0
