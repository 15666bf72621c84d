"""Backbones as input: files, folders and sheets; what is wrong is refused with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import gemmi
import pytest
from tests.backbones import helix

from snakefold.config import load_config
from snakefold.kernel.errors import Refusal
from snakefold.molecules.backbone_inputs import Defaults, named_files, read_backbones, read_positions
from snakefold.molecules.lines import BadFile
from snakefold.molecules.target import Target
from snakefold.plan.preview import preview
from snakefold.plan.quote.limits import BudgetError

HELIX = helix("GSHMEELLKKAEELLK")


def read(*paths: Path, **given: object) -> list[Target | Refusal]:
    return read_backbones(list(paths), Defaults(**given), min_length=16, max_length=100)  # type: ignore[arg-type]


def test_a_file_is_a_backbone_and_a_folder_all_of_its_structures(tmp_path: Path) -> None:
    (tmp_path / "b.pdb").write_text(HELIX)
    (tmp_path / "a.pdb.gz").write_bytes(gzip.compress(HELIX.encode()))
    (tmp_path / "notes.txt").write_text("no structure")
    found = read(tmp_path)
    assert [each.id for each in found if isinstance(each, Target)] == ["a", "b"]
    assert [each.id for each in read(tmp_path / "b.pdb") if isinstance(each, Target)] == ["b"]


def test_results_of_an_earlier_run_are_its_best_models(tmp_path: Path) -> None:
    structure = gemmi.read_pdb_string(HELIX)
    structure.setup_entities()
    for name in ("b", "a"):
        folder = tmp_path / "results" / "structures" / name
        folder.mkdir(parents=True)
        for rank in range(2):
            (folder / f"ranked_{rank}.cif").write_text(structure.make_mmcif_document().as_string())
    assert [each.id for each in read(tmp_path / "results") if isinstance(each, Target)] == ["a", "b"]
    (tmp_path / "none" / "structures").mkdir(parents=True)
    (refusal,) = read(tmp_path / "none")
    assert isinstance(refusal, Refusal) and "no structures" in refusal.message


def test_each_share_of_conserved_positions_is_a_target_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "b.pdb").write_text(HELIX)
    found = read(tmp_path, conserved=(0.0, 0.3))
    assert [each.id for each in found if isinstance(each, Target)] == ["b_c00", "b_c30"]
    assert len({each.key for each in found if isinstance(each, Target)}) == 2


def test_a_sheet_says_what_is_designed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    two = helix("GSHMEELLKKAEELLK", "A") + helix("GSHMEELLKKAEELLK", "B", origin=(10, 0, 0))
    (tmp_path / "in" / "two.pdb").write_text(two)
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(
        "id,backbone,chains,fixed_positions,homooligomer\n"
        "one,in/two.pdb,A,A:1 3-5; A:@7,\n"
        "pair,in/two.pdb,,,yes\n"
        "gone,in/none.pdb,,,\n"
        "wrong,in/two.pdb,A,A:99,\n"
    )
    one, pair, gone, wrong = read(sheet)
    assert isinstance(one, Target) and one.backbone is not None
    assert one.backbone.designed == ("A",) and one.backbone.fixed == {"A": (1, 3, 4, 5, 7)}
    assert isinstance(pair, Target) and pair.backbone is not None and len(pair.backbone.tied) == 16
    assert isinstance(gone, Refusal) and (gone.line, gone.code) == (4, "unreadable")
    assert isinstance(wrong, Refusal) and wrong.line == 5 and "no position 99" in wrong.message
    assert [path.name for path in named_files(sheet)] == ["two.pdb", "two.pdb", "none.pdb", "two.pdb"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,structure\na,b.pdb\n", "The columns are 'id,structure'"),
        ("id,backbone,extra\na,b.pdb,1\n", "'extra' is not known"),
        ("id,backbone,id\na,b.pdb,1\n", "there twice"),
        ("id,backbone\n", "no rows"),
        ("id,backbone\na,\n", "The cell backbone is ''"),
        ("id,backbone\na,b.fasta\n", "The cell backbone is 'b.fasta'"),
        ("id,backbone,homooligomer\na,b.pdb,perhaps\n", "homooligomer is 'perhaps'"),
        ("id,backbone,fixed_positions\na,b.pdb,1 2\n", "names no chain"),
        ("id,backbone,fixed_positions\na,b.pdb,A:x\n", "'x' is no position"),
        ("id,backbone,fixed_positions\na,b.pdb,A:5-3\n", "'5-3' is no position"),
    ],
)
def test_a_sheet_that_is_wrong_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "b.pdb").write_text(HELIX)
    (tmp_path / "sheet.csv").write_text(text)
    (refusal,) = read(tmp_path / "sheet.csv")
    assert isinstance(refusal, Refusal) and said in refusal.message and refusal.advice


def test_what_is_no_backbone_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(">a\nMKTAYIAKQRQISFVK\n")
    (tmp_path / "short.pdb").write_text(helix("ACDE"))
    (tmp_path / "cut.pdb.gz").write_bytes(gzip.compress(HELIX.encode())[:-20])
    (tmp_path / "empty.pdb").write_text("")
    (tmp_path / "folder").mkdir()
    names = ("a.fasta", "short.pdb", "cut.pdb.gz", "empty.pdb", "folder", "missing")
    found = read(*(tmp_path / name for name in names))
    assert all(isinstance(each, Refusal) for each in found)
    told = [each.message for each in found if isinstance(each, Refusal)]
    for said, part in zip(
        told,
        ("no structure", "fewer than min_length", "damaged", "no protein chain", "no structures", "no such"),
        strict=True,
    ):
        assert part in said


def test_positions_are_numbers_ranges_and_numbers_of_the_file() -> None:
    assert read_positions("A:1 2 5-7;B:52A, @60 @-3") == {"A": [1, 2, 5, 6, 7], "B": ["52A", "60", "-3"]}
    assert read_positions("") == {}
    with pytest.raises(BadFile, match="no position"):
        read_positions("A:1-")


def test_a_plan_quotes_both_stages_and_holds_their_sum_against_the_budget(tmp_path: Path) -> None:
    (tmp_path / "b.pdb").write_text(HELIX)
    values = {
        "input": str(tmp_path / "b.pdb"),
        "results": str(tmp_path / "results"),
        "design": {"engine": "proteinmpnn"},
        "proteinmpnn": {"num_seq_per_target": 5, "sampling_temp": "0.1 0.2"},
        "msa": {"tool": "single_sequence"},
        "weights": "rehearsal",
        "gpu": {"classes": ["ampere_24"]},
    }
    told: list[str] = []
    preview(load_config(values), tmp_path / "quote", told.append)
    assert any("Then 10 designs are folded" in line for line in told)
    second = next(line for line in told if line.startswith("10 records: 10 targets (160 residues)"))
    assert "0 duplicates" in second
    # Backbones of one sequence have different designs.
    (tmp_path / "same.pdb").write_text(helix("GSHMEELLKKAEELLK", origin=(5, 0, 0)))
    told.clear()
    preview(load_config({**values, "input": str(tmp_path)}), tmp_path / "quote", told.append)
    assert any(line.startswith("20 records: 20 targets") for line in told)
    with pytest.raises(BudgetError, match="too much"):
        preview(load_config({**values, "budget": 0.01}), tmp_path / "quote", told.append)


@pytest.mark.parametrize("chains", ["H L", "L, H", ["H", "L"]])
def test_chains_are_named_by_a_text_or_a_list(chains: object, tmp_path: Path) -> None:
    pdb = "".join(helix("GSHMEELLKKAEELLK", name, origin=(12 * at, 0, 0)) for at, name in enumerate("HLA"))
    (tmp_path / "fab.pdb").write_text(pdb)
    (tmp_path / "sheet.csv").write_text("id,backbone,chains\nfab,fab.pdb,\n")
    for name in ("fab.pdb", "sheet.csv"):
        (target,) = read(tmp_path / name, chains=chains)
        assert isinstance(target, Target) and target.backbone is not None
        assert target.backbone.designed == ("H", "L")
