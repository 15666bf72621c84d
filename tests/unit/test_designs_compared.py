"""Structures of designs against their backbones: the scores, the table, and what passes."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from tests.backbones import helix
from tests.designed import MOTIF, A, B, drawn, make_designs, write_backbone

from snakefold.cli import main
from snakefold.config import DesignSettings, load_config
from snakefold.kernel import tables
from snakefold.kernel.errors import ConfigError, SnakefoldError
from snakefold.kernel.parquet import read_rows
from snakefold.kernel.paths import house
from snakefold.molecules.targets import Target, read_records
from snakefold.plan.configure import configure, hand_on
from snakefold.plan.contents import contents_of, name_of
from snakefold.plan.preflight import check_control
from snakefold.run.designs.columns import DESIGN_COLUMNS
from snakefold.run.designs.compare import compare
from snakefold.run.designs.listed import read_designed_chains, read_list, read_positions
from snakefold.run.designs.places import LIST
from snakefold.run.designs.positions import Positions
from snakefold.run.designs.table import (
    COMPARED,
    PASSED,
    TABLE,
    mean_identities,
    passes,
    read_table,
    write_designs,
    write_what_is_there,
)
from snakefold.run.summary import summarise
from snakefold.structures.superposition import likeness

Points = NDArray[np.float64]
TURN = Rotation.from_euler("xyz", (40, -70, 110), degrees=True)


def moved(points: Points) -> Points:
    """Turned and shifted, exactly."""
    return np.asarray(TURN.apply(points) + np.array([30.0, -4.0, 12.0]))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_designs(tmp_path_factory.mktemp("designs"))


@pytest.fixture
def backbone(tmp_path: Path) -> Positions:
    """Chain A with a gap and a motif, and chain B, which was not designed."""
    write_backbone(tmp_path, "one", drawn(2))
    return read_positions(tmp_path, "one")


def test_a_gap_is_no_residue_and_what_was_fixed_is_the_motif(backbone: Positions) -> None:
    assert backbone.native == A + B and backbone.chains == (("A", 20), ("B", 12))
    assert backbone.numbers[9:12] == ("10", "13", "14")
    assert np.flatnonzero(backbone.motif).tolist() == [place - 1 for place in MOTIF]
    assert np.flatnonzero(backbone.designed).tolist() == [0, 1, *range(6, 20)]


def test_an_exact_rotation_is_at_no_distance(backbone: Positions) -> None:
    found = compare(moved(backbone.ca), backbone)
    assert found == {"sc_rmsd": 0.0, "sc_tm": 1.0, "sc_rmsd_designed": 0.0, "sc_rmsd_motif": 0.0}


def test_a_mirror_image_is_none(backbone: Positions) -> None:
    assert compare(backbone.ca * (1, 1, -1), backbone)["sc_rmsd"] > 3


def test_rmsd_is_that_of_the_best_rotation(backbone: Positions) -> None:
    model = moved(backbone.ca) + np.random.default_rng(1).normal(0, 1.5, backbone.ca.shape)
    found = compare(model, backbone)
    theirs = backbone.ca - backbone.ca.mean(axis=0)
    turn, distance = Rotation.align_vectors(theirs, model - model.mean(axis=0))
    assert found["sc_rmsd"] == pytest.approx(distance / np.sqrt(len(model)), abs=1e-4)
    squared = ((turn.apply(model - model.mean(axis=0)) - theirs) ** 2).sum(axis=1)
    assert found["sc_rmsd_designed"] == pytest.approx(np.sqrt(squared[backbone.designed].mean()), abs=1e-4)


def test_the_motif_is_superposed_on_its_own(backbone: Positions) -> None:
    model = backbone.ca.copy()
    model[~backbone.motif] += np.random.default_rng(1).normal(0, 2, model[~backbone.motif].shape)
    found = compare(moved(model), backbone)
    assert found["sc_rmsd_motif"] == 0 and found["sc_rmsd_designed"] > found["sc_rmsd"] > 1


def test_two_fixed_positions_have_no_rmsd(tmp_path: Path) -> None:
    write_backbone(tmp_path, "one", drawn(1), fixed={"A": [3, 4]})
    backbone = read_positions(tmp_path, "one")
    assert backbone.motif.sum() == 2 and "sc_rmsd_motif" not in compare(backbone.ca, backbone)


def test_a_residue_without_a_backbone_is_folded_and_not_compared(tmp_path: Path) -> None:
    pdb = helix(A, "A", without=[("7", "O")])
    write_backbone(tmp_path, "one", drawn(1, native=A), pdb=pdb)
    backbone = read_positions(tmp_path, "one")
    model = moved(np.where(np.isnan(backbone.ca), 500.0, backbone.ca))
    assert len(backbone.ca) == 20 and not backbone.designed[6]
    assert compare(model, backbone)["sc_rmsd"] == 0


def test_a_model_of_other_residues_is_not_compared(backbone: Positions) -> None:
    with pytest.raises(ValueError, match="31 residues with a CA atom, the design 32"):
        compare(backbone.ca[1:], backbone)


def test_a_backbone_that_was_exchanged_is_refused(tmp_path: Path) -> None:
    write_backbone(tmp_path, "one", drawn(1))
    (tmp_path / "design/structures/one/backbone.pdb").write_text(helix(A, "A"))
    with pytest.raises(SnakefoldError, match=r"backbone.pdb: chain A is not the one of designs.json"):
        read_positions(tmp_path, "one")


def test_identities_are_means_over_all_pairs() -> None:
    sequences = drawn(7, seed=3)
    positions = np.array([letter != "X" for letter in sequences[0]])
    alike = np.zeros((7, 7))
    for a, b in combinations(range(7), 2):
        same = [x == y for x, y in zip(sequences[a], sequences[b], strict=True)]
        alike[a, b] = alike[b, a] = np.mean(np.array(same)[positions])
    assert mean_identities(sequences, positions) == pytest.approx(alike.sum(axis=1) / 6, abs=1e-4)


def test_both_thresholds_count_and_a_missing_value_is_no_verdict() -> None:
    settings = DesignSettings(max_rmsd=2, min_plddt=80)
    assert passes({"sc_rmsd": 2.0, "mean_plddt": 80.0}, settings) is True
    assert passes({"sc_rmsd": 2.1, "mean_plddt": 90.0}, settings) is False
    assert passes({"sc_rmsd": 1.0, "mean_plddt": 79.9}, settings) is False
    assert passes({"sc_rmsd": None, "mean_plddt": 90.0}, settings) is None
    assert passes({"sc_rmsd": 1.0}, settings) is None


def test_the_list_has_all_designs_and_gives_some(results: Path) -> None:
    made = read_list(results / LIST)
    assert [each.design for each in made] == [f"helix{b}_t0.1_{n}" for b in (1, 2) for n in (1, 2, 3)]
    assert [each.design for each in read_list(results / LIST, {"helix2_t0.1_1"})] == ["helix2_t0.1_1"]
    assert read_list(results / LIST, set()) == []
    assert read_designed_chains(results / LIST) == {"helix1": {"A"}, "helix2": {"A"}}


def test_a_damaged_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no table")
    with pytest.raises(SnakefoldError, match=r"x.parquet: is no list of designs .* Remove it and run again"):
        read_list(tmp_path / "x.parquet")


def test_the_table_says_which_designs_pass(results: Path) -> None:
    rows = read_table(results)
    assert {row["passes"] for row in rows} == {True, False}
    for row in rows:
        # Half of the structures have a helix that is elsewhere.
        assert row["passes"] is (row["sc_rmsd"] < 0.02)
        assert row["sc_rmsd_motif"] < 0.02 and 60 < row["mean_plddt"] < 80 and row["iptm"] == 0.6
        assert row["length"] == 32 and row["chains"] == "A:B" and row["nearest"] == ""
        assert row["nearest_identity"] is None


def test_what_passes_is_fasta_that_a_run_takes(results: Path) -> None:
    rows = [row for row in read_table(results) if row["passes"]]
    found = read_records([results / PASSED], min_length=1, max_length=1000)
    assert all(isinstance(each, Target) for each in found)
    targets = {each.id: ":".join(each.chains) for each in found if isinstance(each, Target)}
    assert targets == {row["id"]: row["sequence"] for row in rows} and rows


def test_a_design_without_a_structure_has_no_verdict(tmp_path: Path) -> None:
    results = make_designs(tmp_path, designs=2, backbones=1)
    write_designs(results, DesignSettings(), [])
    rows = read_table(results)
    assert [row["passes"] for row in rows] == [None, None]
    assert all(row["sc_rmsd"] is None and row["engine"] == "" and row["recovery"] > 0 for row in rows)
    assert (results / PASSED).read_text() == ""


def test_what_was_compared_is_written_where_a_batch_failed(tmp_path: Path) -> None:
    results = make_designs(tmp_path, designs=4, backbones=1)
    before = read_table(results)
    (results / TABLE).unlink()
    assert write_what_is_there(results) and read_table(results) == before
    for part in (results / COMPARED).iterdir():
        part.unlink()
    assert write_what_is_there(results) and {row["passes"] for row in read_table(results)} == {None}


def test_designs_are_listed_sorted_and_as_fasta(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["designs", str(results), "--sort", "mean_plddt", "--passed"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == list(DESIGN_COLUMNS)
    plddt = [float(line[lines[0].index("mean_plddt")]) for line in lines[1:]]
    assert plddt == sorted(plddt, reverse=True) and len(plddt) == sum(
        bool(r["passes"]) for r in read_table(results)
    )
    assert main(["designs", str(results), "--backbone", "helix2", "--fasta", "--sort", "sc_rmsd"]) == 0
    records = capsys.readouterr().out.splitlines()
    assert len(records) == 6 and all(record.startswith(">helix2_t0.1_") for record in records[::2])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sort", "rmsd"], "--sort rmsd: no such column. There are id, backbone"),
        (["--backbone", "helix9"], "--backbone helix9: no such backbone. There are helix1, helix2."),
    ],
)
def test_what_is_not_there_is_said(
    results: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["designs", str(results), *options]) != 0
    assert said in capsys.readouterr().err


def test_a_run_without_designs_has_no_table(tmp_path: Path) -> None:
    with pytest.raises(
        SnakefoldError, match=f"{TABLE}: no such file. Expected the results of a run that designs"
    ):
        read_table(tmp_path)


def test_a_wrong_backbone_is_compared_with_as_well(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    control = house() / "resources" / "demo" / "references" / "7CFN-N.pdb"  # sheets; the designs are helices
    (table, *_) = sorted((results / "tables").glob("*.parquet"))
    found = {}
    for given in (control, None):
        words = [] if given is None else ["--control", str(given)]
        out = tmp_path / f"{len(found)}.parquet"
        assert (
            main(["compare", str(table), "--designed", str(results / LIST), *words, "--out", str(out)]) == 0
        )
        found[given] = read_rows(out)
    scores = [row.pop("control_tm") for row in found[control]]
    assert all(0 < score < 0.5 for score in scores)
    model = next((results / "structures" / found[control][0]["id"]).glob("ranked_0.*")).read_text()
    assert scores[0] == round(likeness(model, control.read_text()), 4)
    assert [row.pop("control_tm") for row in found[None]] == [None] * len(scores)
    assert found[None] == found[control]


def test_what_is_no_structure_is_no_control(tmp_path: Path) -> None:
    (tmp_path / "text.pdb").write_text("nothing\n")
    for name in ("text.pdb", "gone.pdb"):
        settings = {"engine": "proteinmpnn", "control": str(tmp_path / name)}
        with pytest.raises(ConfigError, match=rf"^design\.control: .*{name}.*Expected"):
            check_control(load_config({"design": settings}))


def test_another_control_makes_the_comparisons_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "control.pdb").write_text(helix(A, "A"))
    config = load_config(
        {"design": {"engine": "proteinmpnn", "stage": "structures", "control": "control.pdb"}}
    )
    compared = tmp_path / "results" / COMPARED / "b0001.parquet"

    def settle() -> None:
        contents = contents_of(config)
        hand_on([(config, contents)])
        settings = Path("results", "settings", f"{name_of(contents)}.yaml")
        configure(settings, Path("results", "config.yaml"))

    settle()
    compared.parent.mkdir(parents=True)
    compared.touch()
    settle()
    assert compared.exists()
    (tmp_path / "control.pdb").write_text(helix(B, "A"))
    settle()
    assert not compared.exists()


def test_the_end_of_a_run_says_how_like_designs_are(results: Path) -> None:
    rows = read_table(results)
    told = next(line for line in summarise(results)[0].splitlines() if line.startswith("designs:"))
    assert told.startswith(f"designs: {sum(bool(row['passes']) for row in rows)} of {len(rows)} pass; ")
    low, high = (f"{limit(row['sc_tm'] for row in rows):.2f}" for limit in (min, max))
    assert told.endswith(f"TM-score with the backbone {low} to {high}")


def test_every_column_is_written(results: Path) -> None:
    head = (results / TABLE).read_text().splitlines()[0]
    assert head == "".join(tables.lines(list(DESIGN_COLUMNS), [])).rstrip("\n")
