"""What a target's page is made of, if it is more than proteins: atoms, tokens, chains, alignments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.browser.make_assembly import BACK, DNA, SMILES, entities, make_assembly
from tests.browser.make_results import VILLIN, make_results
from tests.unit.test_report_target import atoms_of, content

from snakefold.kernel.errors import SnakefoldError
from snakefold.report.coordinates import STEP, read_atoms
from snakefold.report.coverage import coverage
from snakefold.report.target import read_target
from snakefold.structures import confidence
from snakefold.structures.confidence import metrics_row

ATOMS = 10


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_assembly(tmp_path_factory.mktemp("assemblies") / "results")


def test_chains_are_what_they_are(results: Path) -> None:
    found = content(results / "structures" / "all")
    assert found["chain_kinds"] == ["protein", "dna", "dna", "ligand", "ligand"]
    assert found["chain_names"] == ["A", "B", "C", "D", "E"]
    assert found["sequence"] == f"{VILLIN}{DNA}{BACK}XX"
    ligand = len(VILLIN + DNA + BACK)
    assert found["components"] == {str(ligand): "LIG1", str(ligand + 1): "CA"}
    assert found["tokens"] == {str(ligand): ATOMS}
    assert found["models"][0]["pae"]["size"] == ligand + ATOMS + 1
    assert [each[2:] for each in found["models"][0]["chains"]] == [
        [],
        ["dna"],
        ["dna"],
        ["ligand"],
        ["ligand"],
    ]


def test_pages_of_plain_proteins_say_nothing_of_it(tmp_path: Path) -> None:
    found = content(make_results(tmp_path, fasta=f">a\n{VILLIN}\n") / "structures" / "a")
    assert not {"chain_kinds", "components", "tokens"} & set(found)
    assert all(len(each) == 2 for each in found["models"][0]["chains"])
    assert all(len(kind) == 3 for kind in found["kinds"])


def test_elements_are_those_of_the_file(results: Path) -> None:
    found = content(results / "structures" / "all")
    kinds = {kind[0]: kind for kind in found["kinds"]}
    assert kinds["CA"][3] == ["Ca"]
    assert dict(zip(kinds["LIG1"][1], kinds["LIG1"][3], strict=True)) == {
        name: "Cl" if name.startswith("CL") else "Br" if name.startswith("BR") else "C"
        for name in kinds["LIG1"][1]
    }
    assert {"CL3", "BR8"} <= set(kinds["LIG1"][1])
    # A letter is enough where a name begins with its element.
    assert len(kinds["DG"]) == len(kinds["PHE"]) == 3


@pytest.mark.parametrize("only", ["all", "dna"])
def test_models_lie_on_each_other_by_their_polymers(results: Path, tmp_path: Path, only: str) -> None:
    if only == "dna":
        strands = [{"kind": "dna", "sequence": each} for each in (DNA, BACK)]
        ligand = {"kind": "ligand", "smiles": SMILES}
        results = make_assembly(tmp_path / "results", {"dna": entities(*strands, ligand)})
    found = content(results / "structures" / only)
    first, second = (atoms_of(model, found["kinds"]) for model in found["models"])
    apart = np.array([np.subtract(one[4], other[4]) for one, other in zip(second, first, strict=True)])
    ligand = np.array([one[2] == "LIG1" for one in first])
    # The files have them 30 Å apart, and the ligand 4 Å farther along z.
    assert np.abs(apart[~ligand & np.array([one[2] != "CA" for one in first])]).max() < 2 * STEP
    assert np.abs(apart[ligand] - [0, 0, 4]).max() < 2 * STEP


def test_a_calcium_ion_or_a_ligands_atom_is_no_residue_of_a_protein(results: Path) -> None:
    target = read_target(results / "structures" / "all")
    (atoms,) = read_atoms((results / "structures" / "all" / "ranked_0.cif").read_text())
    assert target.kinds == ["protein", "dna", "dna", "ligand", "ligand"]
    there = ~np.isnan(atoms.ca(target.kinds)).any(axis=1)
    assert np.flatnonzero(there).tolist() == list(range(len(VILLIN)))
    laid = ~np.isnan(atoms.trace(target.kinds)).any(axis=1)
    assert np.flatnonzero(laid).tolist() == list(range(len(VILLIN + DNA + BACK)))
    # With nothing said of the chains, carbon is what tells.
    assert np.isnan(atoms.ca()[-1]).all()


def test_alignments_are_of_the_proteins(results: Path) -> None:
    found = content(results / "structures" / "all")["coverage"]
    assert found["columns"] == len(VILLIN + DNA + BACK) + 2
    assert found["counts"][: len(VILLIN)] > [0] * len(VILLIN)
    assert found["counts"][len(VILLIN) :] == [0] * (len(DNA + BACK) + 2)


def test_of_two_proteins_one_may_be_aligned() -> None:
    rows = ">q\nACDE\n>r\nAC-E\n"
    whole = coverage(rows, ["GGG", "ACDE", "X", "ACDE"], [True, True, False, True])
    assert whole is not None and whole.counts == [0, 0, 0, 2, 2, 1, 2, 0, 2, 2, 1, 2]
    # A modified residue is X here and its parent in the alignment.
    modified = coverage(rows, ["AXDE"])
    assert modified is not None and modified.counts == [2, 2, 1, 2]
    assert coverage(rows, ["GGGG"]) is None
    # DNA that reads like the protein was not aligned.
    assert coverage(">q\nACGT\n", ["ACGT"], [False]) is None


def test_the_length_is_that_of_the_plan(results: Path) -> None:
    found = confidence.Confidence.model_validate_json(
        (results / "structures" / "all" / "confidence.json").read_text()
    )
    assert metrics_row(found)["length"] == len(VILLIN + DNA + BACK)
    assert metrics_row(found)["chains"] == 5


def test_damaged_tokens_are_named(results: Path, tmp_path: Path) -> None:
    folder = make_assembly(tmp_path / "results") / "structures" / "binder"
    (folder / "tokens.json").write_text('{"chain": [0, 0], "residue": [1]}')
    with pytest.raises(SnakefoldError, match=r"tokens\.json: not as expected"):
        content(folder)
