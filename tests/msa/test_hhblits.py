"""The HHblits step against AlphaFold's own runner, on small databases of clusters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import families
import hhsuite
import pytest
from one_database import one_database

from snakefold.kernel.errors import DatabaseMissingError, Reason, TargetError
from snakefold.msa import hhblits, programs
from snakefold.msa.bundle import RawMsa
from snakefold.msa.databases.presets import Database, Preset
from snakefold.msa.settings import MsaSettings

needs_hhblits = pytest.mark.needs("hhblits")
SETTINGS = MsaSettings(tool="hhblits", threads=2)


def described(prefix: Path, name: str) -> Database:
    files = (prefix.with_name(f"{prefix.name}_a3m.ffdata"),)
    return replace(one_database(prefix, name, "hhsuite", "hhblits"), files=files)


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    root = tmp_path_factory.mktemp("hhsuite")
    prefixes = {}
    for seed, name in enumerate(("bfd", "uniref30")):
        (root / name).mkdir()
        records = families.database(seed, members=16, random_sequences=16)
        prefixes[name] = hhsuite.database(root / name, "mini", records)
    return Preset("test", root, tuple(described(prefix, name) for name, prefix in prefixes.items()))


@pytest.mark.slow
@needs_hhblits
def test_rows_equal_those_of_alphafolds_runner(preset: Preset, tmp_path: Path) -> None:
    from alphafold.data.tools.hhblits import HHBlits

    runner = HHBlits(
        binary_path=str(programs.find("hhblits")),
        databases=[str(database.path) for database in preset.databases],
        n_cpu=2,
    )
    lines: list[str] = []
    found = hhblits.search(families.queries(), preset, SETTINGS, tmp_path / "work", lines.append)
    fasta = tmp_path / "query.fasta"
    for query in families.queries():
        fasta.write_text(f">{query.key}\n{query.sequence}\n")
        expected = runner.query(str(fasta))[0]["a3m"]
        msas = found[query.key]
        assert not isinstance(msas, TargetError)
        [msa] = msas
        assert msa.text == expected
        assert msa.database == "bfd+uniref30"
        assert f"$ {msa.commands[0]}" in lines
        if query.sequence == families.ORPHAN:
            assert (msa.found, list(msa.hits)) == (0, [])
        else:
            assert msa.found >= 10
            assert msa.hits[0].evalue < 1e-10
            assert msa.hits[0].pident > 50
    assert not list((tmp_path / "work").iterdir())


@needs_hhblits
def test_a_failing_chain_is_a_value_and_the_others_go_on(preset: Preset, tmp_path: Path) -> None:
    good = families.chain(families.UBIQUITIN)
    # Not a sequence that the plan lets through: HHblits refuses an empty one.
    bad = good.model_copy(update={"key": "0" * 64, "sequence": ""})
    found = hhblits.search([bad, good], preset, SETTINGS, tmp_path, lambda _: None)
    failure, [msa] = found[bad.key], found[good.key]
    assert isinstance(failure, TargetError)
    assert failure.reason == Reason.MSA_FAILED
    assert "hhblits" in failure.message
    assert isinstance(msa, RawMsa)
    assert msa.found > 5


def test_every_missing_part_of_the_databases_is_named(tmp_path: Path) -> None:
    absent = Preset(
        "test", tmp_path, (described(tmp_path / "bfd", "bfd"), described(tmp_path / "u30", "u30"))
    )
    with pytest.raises(DatabaseMissingError) as caught:
        hhblits.search([families.chain(families.UBIQUITIN)], absent, SETTINGS, tmp_path, lambda _: None)
    for name in ("bfd", "u30"):
        for part in ("_a3m.ffdata", "_hhm.ffdata", "_cs219.ffdata"):
            assert f"{name}{part}: missing (Make it.)" in str(caught.value)
