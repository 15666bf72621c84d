"""Template search on a real structure (2GTL, erythrocruorin, in the wheel of tmtools) against AlphaFold's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hhsuite
import numpy as np
import pytest
from erythrocruorin import CHAINS, QUERY, RELATIVE, write_pdb
from families import chain
from one_database import one_database

from snakefold.kernel.errors import ConfigError, DatabaseMissingError, TargetError
from snakefold.msa import a3m, programs, templates
from snakefold.msa.databases.presets import Preset
from snakefold.msa.settings import MsaSettings
from snakefold.msa.template_files import Templates

ALONE = a3m.parse_a3m(f">{QUERY.key}\n{RELATIVE}\n")
FAMILY = a3m.parse_a3m(f"{ALONE.to_a3m()}>d\n{CHAINS['D'][5:-5]}\n")


def silent(line: str) -> None:
    """A log nobody reads."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pdb")
    write_pdb(folder)
    return folder


@pytest.fixture(scope="module")
def pdb_seqres(root: Path) -> Preset:
    return Preset(
        "test",
        root,
        (
            one_database(root / "pdb_seqres.txt", "pdb_seqres", "fasta", "hmmsearch"),
            one_database(root / "mmcif_files", "pdb_mmcif", "mmcif", "hmmsearch", "hhsearch"),
            one_database(root / "obsolete.dat", "obsolete", "text", "hmmsearch", "hhsearch"),
        ),
    )


@pytest.fixture(scope="module")
def pdb70(root: Path, pdb_seqres: Preset) -> Preset:
    folder = root / "pdb70"
    folder.mkdir()
    prefix = hhsuite.database(folder, "pdb70", {f"2GTL_{name}": text for name, text in CHAINS.items()})
    return dataclasses.replace(
        pdb_seqres,
        databases=(
            dataclasses.replace(
                one_database(prefix, "pdb70", "hhsuite", "hhsearch"), files=tuple(folder.glob("pdb70_*.ff*"))
            ),
            *pdb_seqres.databases[1:],
        ),
    )


def settings(tool: str, date: str = "2100-01-01") -> MsaSettings:
    return MsaSettings(templates=tool, max_template_date=date, threads=2)


def found(preset: Preset, tool: str, work: Path, msa: a3m.Msa = ALONE, date: str = "2100-01-01") -> Templates:
    ((_, result),) = templates.search([(QUERY, msa)], preset, settings(tool, date), work=work, log=silent)
    assert isinstance(result, Templates)
    return result


def assert_are_templates_of_the_query(data: bytes | None) -> None:
    assert data is not None
    features = templates.load(data)
    count, length = len(features["template_domain_names"]), len(RELATIVE)
    assert features["template_aatype"].shape == (count, length, 22)
    assert features["template_all_atom_masks"].shape == (count, length, 37)
    assert features["template_all_atom_positions"].shape == (count, length, 37, 3)
    assert features["template_sum_probs"].shape == (count, 1)
    # Neighbouring CA atoms (index 1) of the best template are 3.8 Å apart.
    best = features["template_all_atom_positions"][0, :, 1]
    seen = features["template_all_atom_masks"][0, :, 1] == 1
    assert seen.sum() > 100
    both = seen[1:] & seen[:-1]
    distances = np.linalg.norm(best[1:] - best[:-1], axis=-1)[both]
    assert np.median(distances) == pytest.approx(3.8, abs=0.1)
    sequence = features["template_sequence"][0].decode()
    same = sum(ours == theirs for ours, theirs in zip(sequence, RELATIVE, strict=True))
    assert same > 0.8 * length


def test_hmmsearch_finds_what_alphafolds_pipeline_finds(pdb_seqres: Preset, tmp_path: Path) -> None:
    from alphafold.data import parsers
    from alphafold.data.templates import HmmsearchHitFeaturizer
    from alphafold.data.tools.hmmsearch import Hmmsearch

    ours = found(pdb_seqres, "hmmsearch", tmp_path, FAMILY)
    assert_are_templates_of_the_query(ours.npz)
    assert ours.names[0] == "2gtl_D"
    assert len(ours.names) >= 2
    assert any("9zzz_A" in warning for warning in ours.warnings)
    assert [Path(command.split()[0]).name for command in ours.commands] == ["hmmbuild", "hmmsearch"]

    rows = [f"{name} {row}" for name, row in (("query", RELATIVE), ("d", CHAINS["D"][5:-5]))]
    stockholm = "\n".join(["# STOCKHOLM 1.0", "", *rows, f"#=GC RF {'x' * len(RELATIVE)}", "//", ""])
    runner = Hmmsearch(
        binary_path=str(programs.find("hmmsearch")),
        hmmbuild_binary_path=str(programs.find("hmmbuild")),
        database_path=str(pdb_seqres.databases[0].path),
    )
    reported = runner.query(parsers.remove_empty_columns_from_stockholm_msa(stockholm))
    hits = [hit for hit in runner.get_template_hits(reported, RELATIVE) if not hit.name.startswith("9zzz")]
    featuriser = HmmsearchHitFeaturizer(
        mmcif_dir=str(pdb_seqres.databases[1].path),
        max_template_date="2100-01-01",
        max_hits=20,
        kalign_binary_path=str(programs.find("kalign")),
        release_dates_path=None,
        obsolete_pdbs_path=str(pdb_seqres.databases[2].path),
    )
    expected = featuriser.get_templates(RELATIVE, hits).features
    features = templates.load(ours.npz or b"")
    assert sorted(features) == sorted(expected)
    for name, value in expected.items():
        assert features[name].dtype == value.dtype
        np.testing.assert_array_equal(features[name], value)


@pytest.mark.slow
@pytest.mark.needs("hhblits")
def test_hhsearch_finds_the_same_fold(pdb70: Preset, tmp_path: Path) -> None:
    result = found(pdb70, "hhsearch", tmp_path)
    assert_are_templates_of_the_query(result.npz)
    assert result.names[0] == "2gtl_D"
    sum_probs = templates.load(result.npz or b"")["template_sum_probs"].ravel()
    assert sum_probs[0] > 100
    assert list(sum_probs) == sorted(sum_probs, reverse=True)


def test_templates_released_too_late_are_not_used(pdb_seqres: Preset, tmp_path: Path) -> None:
    assert found(pdb_seqres, "hmmsearch", tmp_path, date="2006-07-17").npz is None
    assert found(pdb_seqres, "hmmsearch", tmp_path, date="2006-07-18").npz is not None


def test_no_more_templates_than_asked_for_are_kept(pdb_seqres: Preset, tmp_path: Path) -> None:
    one = settings("hmmsearch").model_copy(update={"max_template_hits": 1})
    ((_, result),) = templates.search([(QUERY, FAMILY)], pdb_seqres, one, work=tmp_path, log=silent)
    assert isinstance(result, Templates)
    assert list(result.names) == ["2gtl_D"]
    recipes = [templates.recipe(each, pdb_seqres, {})["max_hits"] for each in (one, settings("hmmsearch"))]
    assert recipes == [1, 20]
    assert "max_template_hits" not in settings("hmmsearch").model_dump()


def test_a_chain_like_nothing_else_has_no_templates(pdb_seqres: Preset, tmp_path: Path) -> None:
    orphan = chain("WCMHWCYHMWCHYMWPCHMW")
    msa = a3m.parse_a3m(f">{orphan.key}\n{orphan.sequence}\n")
    ((_, result),) = templates.search(
        [(orphan, msa)], pdb_seqres, settings("hmmsearch", "1970-01-01"), work=tmp_path, log=silent
    )
    assert isinstance(result, Templates)
    assert (result.npz, list(result.names)) == (None, [])
    assert not list(tmp_path.iterdir())


def test_a_failing_chain_is_a_value_and_the_others_go_on(pdb_seqres: Preset, tmp_path: Path) -> None:
    bad = QUERY.model_copy(update={"key": "0" * 64})
    broken = a3m.Msa(["query", "other"], ["ACD", "123"])
    results = dict(
        templates.search(
            [(bad, broken), (QUERY, ALONE)], pdb_seqres, settings("hmmsearch"), work=tmp_path, log=silent
        )
    )
    assert isinstance(results[bad.key], TargetError)
    assert isinstance(results[QUERY.key], Templates)


def without_date(text: bytes) -> bytes:
    return text.replace(b"_pdbx_audit_revision_history.", b"_other.")


def with_latin_1(text: bytes) -> bytes:
    return text + b"# M\xfcller\n" * 10_000


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_date, "it has no release date (_pdbx_audit_revision_history.revision_date)"),
        (with_latin_1, "is not UTF-8"),
    ],
)
def test_a_structure_that_cannot_be_taken_is_dropped_with_a_note(
    pdb_seqres: Preset, tmp_path: Path, spoil: Callable[[bytes], bytes], said: str
) -> None:
    folder = tmp_path / "mmcif_files"
    folder.mkdir()
    text = (pdb_seqres.databases[1].path / "2gtl.cif").read_bytes()
    (folder / "2gtl.cif").write_bytes(spoil(text))
    (folder / "9zzz.cif").write_bytes(text)
    structures = dataclasses.replace(pdb_seqres.databases[1], path=folder)
    preset = dataclasses.replace(
        pdb_seqres, databases=(pdb_seqres.databases[0], structures, *pdb_seqres.databases[2:])
    )
    result = found(preset, "hmmsearch", tmp_path / "w", FAMILY)
    (dropped,) = {text for text in result.warnings if text.startswith("template 2gtl_D")}
    assert said in dropped
    assert max(map(len, result.warnings)) < 500
    # The hit in the other file is used, or refused by AlphaFold with words of its own; the chain goes on.
    assert not any("9zzz_A" in text and "cannot be used" in text for text in result.warnings)


def test_names_and_lists_that_are_no_utf_8(pdb_seqres: Preset, tmp_path: Path) -> None:
    plain = found(pdb_seqres, "hmmsearch", tmp_path / "plain", FAMILY)
    sequences, structures, obsolete = pdb_seqres.databases
    for database, more in (
        (sequences, b">8zzz_A mol:protein length:139  M\xe9\n%s\n"),
        (obsolete, b"OBSLTE \xe9%s\n"),
    ):
        copy = tmp_path / database.path.name
        copy.write_bytes(database.path.read_bytes() + more % RELATIVE.encode())
    preset = dataclasses.replace(
        pdb_seqres,
        databases=(
            dataclasses.replace(sequences, path=tmp_path / sequences.path.name),
            structures,
            dataclasses.replace(obsolete, path=tmp_path / obsolete.path.name),
        ),
    )
    odd = found(preset, "hmmsearch", tmp_path / "odd", FAMILY)
    assert (odd.names, odd.npz) == (plain.names, plain.npz)
    assert any("8zzz_A: no 8zzz.cif" in text for text in odd.warnings)


def test_what_alphafold_says_is_bounded(
    pdb_seqres: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise UnicodeDecodeError("utf-8", b"x" * 1_000_000, 5, 6, "invalid start byte")

    monkeypatch.setattr(templates._Searching, "_hmmsearch", fail)
    ((_, result),) = templates.search(
        [(QUERY, ALONE)], pdb_seqres, settings("hmmsearch"), work=tmp_path, log=silent
    )
    assert isinstance(result, TargetError)
    assert "byte 6 is not UTF-8" in str(result)
    assert len(str(result)) < 1000


def test_the_feature_pipeline_takes_them(pdb_seqres: Preset, tmp_path: Path) -> None:
    from alphafold.data import parsers, pipeline
    from alphafold.model import config, features

    npz = found(pdb_seqres, "hmmsearch", tmp_path).npz or b""
    raw = {
        **pipeline.make_sequence_features(RELATIVE, "query", len(RELATIVE)),
        **pipeline.make_msa_features([parsers.parse_a3m(FAMILY.to_a3m())]),
        **templates.load(npz),
    }
    model = config.model_config("model_1_ptm")
    processed = features.np_example_to_features(raw, model, random_seed=0)
    count = min(4, len(templates.load(npz)["template_domain_names"]))
    positions = processed["template_all_atom_positions"]
    assert positions.shape[-4:] == (4, len(RELATIVE), 37, 3)
    assert processed["template_mask"].reshape(-1, 4)[0].sum() == count
    assert np.abs(positions).max() > 1
    assert processed["template_pseudo_beta_mask"].sum() > 100


def test_npz_is_the_same_every_time_and_holds_no_pickles(pdb_seqres: Preset, tmp_path: Path) -> None:
    first, second = (found(pdb_seqres, "hmmsearch", tmp_path).npz for _ in range(2))
    assert first == second
    assert first is not None
    assert b"cnumpy" not in first
    again = templates.dump(templates.load(first))
    assert again == first


def test_what_the_preset_lacks_is_named(pdb_seqres: Preset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hhsuite format"):
        found(pdb_seqres, "hhsearch", tmp_path)
    with pytest.raises(ConfigError, match="none"):
        found(pdb_seqres, "none", tmp_path)
    (tmp_path / "empty").mkdir()
    empty = dataclasses.replace(pdb_seqres.databases[1], path=tmp_path / "empty")
    without = dataclasses.replace(pdb_seqres, databases=(pdb_seqres.databases[0], empty))
    with pytest.raises(DatabaseMissingError, match=r"no \*\.cif files there. Make it"):
        found(without, "hmmsearch", tmp_path)
