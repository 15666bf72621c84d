"""What a run depends on is known by content, whatever the clock says."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from snakefold.config import Config, load_config
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.unchanged import bring_to_now
from snakefold.plan.configure import configure, hand_on
from snakefold.plan.contents import Digests, contents_of, name_of

SEQUENCE = "MKTAYIAKQRQISFVKSHFS"
OTHER = "GSWTWENGKWTWKGSWTWEN"
#: Changes of what a run depends on, and the part of the contents that says so.
CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a FASTA": ("input", lambda at: write(at / "my.fasta", f">a\n{OTHER}\n")),
    "a FASTA in a folder": ("input", lambda at: write(at / "dir" / "b.fasta", f">b\n{OTHER}\n")),
    "one more in the folder": ("input", lambda at: write(at / "dir" / "c.fa", f">c\n{OTHER}\n")),
    "one less": ("input", lambda at: (at / "dir" / "b2.fasta").unlink()),
    "another name": ("input", lambda at: (at / "dir" / "b2.fasta").rename(at / "dir" / "b3.fasta")),
    "an A3M": ("input", lambda at: write(at / "own.a3m", f">own\n{SEQUENCE}\n>x\n{OTHER}\n")),
    "behind a sample sheet": ("input", lambda at: write(at / "more" / "s.fasta", f">s\n{OTHER}\n")),
    "a reference": ("references", lambda at: write(at / "known.pdb", "END\n")),
    "a collection": ("reuse", lambda at: write(at / "mine" / "x.pdb", "END\n")),
    "a database": ("databases", lambda at: write(at / "db" / "swissprot.fasta", f">x\n{OTHER}\n")),
    "parameters": ("weights", lambda at: write(at / "w" / "params" / "params_model_1.npz", "other")),
    "a table of GPUs": ("tables", lambda at: write(at / "gpus.yaml", "a: {}\n")),
}


def write(path: Path, text: str) -> None:
    """Write a file, with the time that it had, or an old one: as cp -p, unzip and git checkout do."""
    times = (path.stat().st_mtime_ns if path.exists() else 1_577_836_800_000_000_000,) * 2
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=times)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Settings that name everything a run can depend on, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("my.fasta", "dir/b.fasta", "dir/b2.fasta", "own.a3m", "more/s.fasta"):
        write(tmp_path / name, f">x\n{SEQUENCE}\n")
    write(tmp_path / "more" / "sheet.csv", "id,fasta\ns,s.fasta\nt,missing.fasta\n")
    write(tmp_path / "known.pdb", "ATOM\n")
    write(tmp_path / "mine" / "x.pdb", "ATOM\n")
    write(tmp_path / "w" / "params" / "params_model_1.npz", "parameters")
    write(tmp_path / "gpus.yaml", "{}\n")
    for name in ("swissprot.fasta", "uniprot.fasta"):
        write(tmp_path / "db" / name, f">x\n{SEQUENCE}\n")
    return load_config(
        {
            "input": ["my.fasta", "dir", "own.a3m", "more/sheet.csv"],
            "references": {"a": "known.pdb"},
            "reuse": ["mine"],
            "weights": "w",
            "gpu": {"table": "gpus.yaml"},
            "msa": {"db_root": "db"},
        }
    )


@pytest.mark.parametrize(("part", "change"), CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_seen_whatever_its_time(
    part: str, change: Callable[[Path], object], config: Config, tmp_path: Path
) -> None:
    before = contents_of(config)
    change(tmp_path)
    after = contents_of(config)
    assert {name for name in before if before[name] != after[name]} == {part}
    assert name_of(before) != name_of(after)


def test_times_are_no_change(config: Config, tmp_path: Path) -> None:
    before = contents_of(config)
    for path in (tmp_path / "my.fasta", tmp_path / "dir" / "b.fasta", tmp_path / "db" / "swissprot.fasta"):
        os.utime(path, (4_000_000_000, 4_000_000_000))
    assert contents_of(config) == before


def test_a_setting_is_a_change_and_the_spelling_of_the_results_is_none(
    config: Config, tmp_path: Path
) -> None:
    name = name_of(contents_of(config))
    assert name_of(contents_of(config.model_copy(update={"min_length": 17}))) != name
    assert name_of(contents_of(config.model_copy(update={"results": f"{tmp_path}/results"}))) == name


def test_another_current_folder_is_a_change(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths mean other files there: the store, parameters, alignments."""
    name = name_of(contents_of(config))
    shutil.copytree(tmp_path / "dir", tmp_path / "there" / "dir")
    monkeypatch.chdir(tmp_path / "there")
    assert name_of(contents_of(config)) != name


def test_a_large_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large, kept = tmp_path / "large", tmp_path / "digests.json"
    large.write_bytes(b"a" * (1 << 24))
    monkeypatch.setattr("time.time_ns", lambda: large.stat().st_ctime_ns + 10**10)
    first = Digests(kept)
    found = first.of(large)
    first.keep()
    again = Digests(kept)
    monkeypatch.setattr("hashlib.file_digest", None)
    assert again.of(large) == found
    monkeypatch.undo()
    # Of the same size, and with the same time: only that of the inode tells.
    time = large.stat().st_mtime_ns
    large.write_bytes(b"b" * (1 << 24))
    os.utime(large, ns=(time, time))
    assert Digests(kept).of(large) != found


def test_a_damaged_record_of_digests_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "digests.json").write_text("[1")
    (tmp_path / "a").write_text("a")
    assert len(Digests(tmp_path / "digests.json").of(tmp_path / "a")) == 64
    assert Digests().of(tmp_path / "nothing") == "missing"


def settle(config: Config, contents: dict[str, str]) -> list[str]:
    hand_on([(config, contents)])
    results = Path(config.results)
    return configure(results / "settings" / f"{name_of(contents)}.yaml", results / "config.yaml")


def test_settings_are_written_under_one_name_only(config: Config, tmp_path: Path) -> None:
    contents = contents_of(config)
    settle(config, contents)
    table = tmp_path / "results" / "tables" / "b0001.parquet"
    write(table, "")
    changed = config.model_copy(update={"min_length": 17})
    said = settle(changed, contents_of(changed))
    (settings,) = (tmp_path / "results" / "settings").iterdir()
    assert settings.stem == name_of(contents_of(changed))
    text: dict[str, Any] = yaml.safe_load(settings.read_text())
    assert load_config(text) == changed
    assert settings.read_bytes() == (tmp_path / "results" / "config.yaml").read_bytes()
    assert said == ["Planned again, because this changed since the last run: settings."]
    assert table.exists()


def test_another_reference_makes_the_tables_again(config: Config, tmp_path: Path) -> None:
    settle(config, contents_of(config))
    table = tmp_path / "results" / "tables" / "b0001.parquet"
    write(table, "")
    write(tmp_path / "known.pdb", "END\n")
    settle(config, contents_of(config))
    assert not table.exists()


def test_results_of_the_version_before_are_told(config: Config, tmp_path: Path) -> None:
    (tmp_path / "results" / "plan" / "batches").mkdir(parents=True)
    (said,) = settle(config, contents_of(config))
    assert "planned again" in said


def test_the_step_alone_says_how_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNAKEFOLD_SETTINGS", raising=False)
    with pytest.raises(SnakefoldError, match="Use snakefold run"):
        configure(tmp_path / "settings" / "a.yaml", tmp_path / "config.yaml")


def test_files_of_the_future_are_brought_to_now(tmp_path: Path) -> None:
    """Snakemake fails a job whose output is older than an input."""
    for name in ("config.yaml", "plan/batches/b0001.json", "store/fold/a/b", "msa/m0001.json"):
        write(tmp_path / name, "")
    past = (tmp_path / "msa" / "m0001.json").stat()
    for name in ("config.yaml", "plan/batches/b0001.json", "store/fold/a/b"):
        os.utime(tmp_path / name, (4_000_000_000, 4_000_000_000))
    assert bring_to_now(tmp_path) == 2
    assert (tmp_path / "plan" / "batches" / "b0001.json").stat().st_mtime <= time.time()
    assert (tmp_path / "msa" / "m0001.json").stat().st_mtime == past.st_mtime
    assert (tmp_path / "store" / "fold" / "a" / "b").stat().st_mtime == 4_000_000_000
