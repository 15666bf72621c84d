"""Presets: what they hold, and what is said when files are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from snakefold.kernel.errors import ConfigError, DatabaseMissingError
from snakefold.msa.databases import presets as databases
from snakefold.msa.settings import MsaSettings


@pytest.mark.parametrize("name", ["demo", "reduced_dbs", "full_dbs", "colabfold"])
def test_presets_are_listed(name: str) -> None:
    preset = databases.load_preset(name)
    assert preset.databases
    assert all(database.get for database in preset.databases)


def test_alphafolds_limits() -> None:
    from alphafold.data import pipeline, pipeline_multimer

    theirs = pipeline.DataPipeline.__init__.__defaults__
    mgnify, uniref = theirs[0], theirs[1]
    uniprot = pipeline_multimer.DataPipeline.__init__.__defaults__[0]
    for name in ("reduced_dbs", "full_dbs"):
        limits = {database.name: database.limit for database in databases.load_preset(name).databases}
        assert (limits["uniref90"], limits["mgnify"], limits["uniprot"]) == (uniref, mgnify, uniprot)


def test_order_is_alphafolds() -> None:
    """`make_msa_features((uniref90_msa, bfd_msa, mgnify_msa))`."""
    reduced = databases.load_preset("reduced_dbs").select("jackhmmer")
    assert [database.name for database in reduced] == ["uniref90", "small_bfd", "mgnify"]
    full = databases.used(databases.load_preset("full_dbs"), MsaSettings(tool="hhblits"), pairing=False)
    assert [database.name for database in full] == ["uniref90", "bfd", "uniref30", "mgnify"]


def test_databases_for_pairing_are_asked_for() -> None:
    demo = databases.load_preset("demo")
    assert [each.name for each in demo.select("jackhmmer")] == ["swissprot"]
    assert [each.name for each in demo.select("jackhmmer", pairing=True)] == ["swissprot", "uniprot"]


def test_demo_is_there() -> None:
    demo = databases.load_preset("demo")
    databases.check(demo, MsaSettings())
    databases.check(demo, MsaSettings(tool="mmseqs"))
    databases.check(demo, MsaSettings(tool="single_sequence"))


def test_every_missing_file_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "mgnify").mkdir()
    (tmp_path / "mgnify/mgy_clusters_2022_05.fa").write_text(">a\nA\n")
    preset = databases.load_preset("reduced_dbs", tmp_path)
    with pytest.raises(DatabaseMissingError) as caught:
        databases.check(preset, MsaSettings(templates="hmmsearch"))
    text = str(caught.value)
    for part in (
        "uniref90.fasta",
        "bfd-first_non",
        "uniprot.fasta",
        "pdb_seqres.txt",
        "mmcif_files",
        "67 GB",
    ):
        assert part in text
    assert "mgy_clusters" not in text
    assert "pdb70" not in text
    assert "download_uniref90.sh" in text
    # Commands can be pasted as they are.
    assert f"snakefold db fetch reduced_dbs --root {tmp_path} --only uniref90" in text
    assert "<preset>" not in text


def test_a_preset_without_the_tool_is_refused() -> None:
    with pytest.raises(ConfigError, match="no database for hhblits; it has some for jackhmmer, mmseqs"):
        databases.check(databases.load_preset("demo"), MsaSettings(tool="hhblits"))


def test_unknown_preset() -> None:
    with pytest.raises(
        ConfigError, match=r"'big' is not in .*It has: colabfold, demo, full_dbs, reduced_dbs"
    ):
        databases.load_preset("big")


@pytest.mark.parametrize("text", ["", "- a\n", "demo: {root: x}\n", "demo: [\n"])
def test_broken_listing(tmp_path: Path, text: str) -> None:
    listing = tmp_path / "databases.yaml"
    listing.write_text(text)
    with pytest.raises(ConfigError, match=r"databases\.yaml"):
        databases.load_preset("demo", listing=listing)


def test_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    settings = MsaSettings()
    prints = []
    for folder, extra in (("one", ""), ("two", ""), ("three", "A")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "swissprot.fasta").write_text(f">a\nAC{extra}\n")
        (tmp_path / folder / "uniprot.fasta").write_text(">b\nAC\n")
        prints.append(databases.fingerprint(databases.load_preset("demo", tmp_path / folder), settings))
    assert prints[0] == prints[1] != prints[2]


def test_optional_databases_may_be_missing(tmp_path: Path) -> None:
    for part in ("", "_seq", "_aln"):
        (tmp_path / f"uniref30_2302_db{part}.dbtype").touch()
    preset = databases.load_preset("colabfold", tmp_path)
    databases.check(preset, MsaSettings(tool="mmseqs"))
    assert [database.name for database in preset.select("mmseqs")] == ["uniref30"]
