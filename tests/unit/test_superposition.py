"""TM-align's superposition, checked with Biopython's own and with motions whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from Bio.SVDSuperimposer import SVDSuperimposer
from hypothesis import given, settings
from hypothesis import strategies as st

from snakefold.kernel.errors import SnakefoldError
from snakefold.structures import files as structures
from snakefold.structures import superposition

REFERENCES = Path(__file__).parents[2] / "resources" / "demo" / "references"
FV, NANOBODY = (REFERENCES / "7CTH-HL.pdb").read_text(), (REFERENCES / "7CFN-N.pdb").read_text()


def moved(text: str, angles: tuple[float, float, float], shift: tuple[float, float, float]) -> str:
    """PDB text turned about its centre and shifted."""
    x, y, z = angles
    turn = (
        np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        @ np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        @ np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    )
    centre = structures.ca_coordinates(text).mean(axis=0)
    return changed(text, lambda point: turn @ (point - centre) + np.array(shift))


def changed(text: str, change: object) -> str:
    lines = []
    for line in text.splitlines():
        if line.startswith("ATOM"):
            point = change(np.array([float(line[at : at + 8]) for at in (30, 38, 46)]))
            line = line[:30] + "".join(f"{value:8.3f}" for value in point) + line[54:]  # noqa: PLW2901
        lines.append(line)
    return "\n".join(lines) + "\n"


def renamed(text: str, names: dict[str, str], order: str | None = None) -> str:
    """PDB text with other chain names, its chains in the order given (by old name)."""
    atoms = [line for line in text.splitlines() if line.startswith("ATOM")]
    kept = [line for name in order or names for line in atoms if line[21] == name]
    return "".join(f"{line[:21]}{names[line[21]]}{line[22:]}\n" for line in kept)


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(-3.1, 3.1)] * 3), st.tuples(*[st.floats(-200, 200)] * 3))
def test_a_rigid_motion_is_undone(
    angles: tuple[float, float, float], shift: tuple[float, float, float]
) -> None:
    found = superposition.superpose(moved(NANOBODY, angles, shift), NANOBODY)
    assert found.tm_score == pytest.approx(1, abs=1e-4)
    assert found.rmsd == pytest.approx(0, abs=2e-3)
    assert found.pairs.tolist() == [[number, number] for number in range(128)]


def test_rmsd_is_that_of_the_best_rigid_motion_over_the_pairs() -> None:
    random = np.random.default_rng(5)
    noisy = changed(FV, lambda point: point + random.normal(scale=0.8, size=3))
    found = superposition.superpose(noisy, FV)
    ours, theirs = structures.ca_coordinates(noisy), structures.ca_coordinates(FV)
    judge = SVDSuperimposer()
    judge.set(theirs[found.pairs[:, 1]], ours[found.pairs[:, 0]])
    judge.run()
    assert len(found.pairs) > 200
    assert found.rmsd == pytest.approx(judge.get_rms(), abs=0.02)
    d0 = 1.24 * (len(theirs) - 15) ** (1 / 3) - 1.8
    laid = ours @ found.rotation.T + found.translation
    distance = np.linalg.norm(laid[found.pairs[:, 0]] - theirs[found.pairs[:, 1]], axis=1)
    assert found.tm_score == pytest.approx((1 / (1 + (distance / d0) ** 2)).sum() / len(theirs), abs=0.01)
    both = structures.read(found.text)
    assert [one.num for one in both] == [1, 2]
    atoms = np.array(
        [atom.pos.tolist() for chain in both[0] for residue in chain for atom in residue if atom.name == "CA"]
    )
    assert atoms == pytest.approx(laid, abs=0.002)


def test_unlike_structures_score_low() -> None:
    random = np.random.default_rng(1)
    walk = np.cumsum(random.normal(scale=2.2, size=(128 * 4, 3)), axis=0)
    steps = iter(walk)
    found = superposition.superpose(changed(NANOBODY, lambda _: next(steps)), NANOBODY)
    assert found.tm_score < 0.4


def test_likeness_needs_no_pairs_of_chains_and_is_of_the_shorter_structure() -> None:
    heavy = "".join(line for line in FV.splitlines(keepends=True) if line[21:22] == "H")
    for ours, theirs in ((FV, FV), (heavy, FV), (FV, heavy)):
        assert superposition.likeness(ours, theirs) == pytest.approx(1, abs=1e-4)
    assert superposition.likeness(FV, (REFERENCES / "4CUP-A.pdb").read_text()) < 0.4
    few = "".join(NANOBODY.splitlines(keepends=True)[:17])
    with pytest.raises(SnakefoldError, match="at least 5 residues"):
        superposition.likeness(FV, few)


def test_chains_are_paired_by_sequence_whatever_their_names_and_order() -> None:
    swapped = renamed(moved(FV, (1, 2, 3), (5, 6, 7)), {"H": "L", "L": "H"}, order="LH")
    found = superposition.superpose(swapped, FV)
    assert sorted(found.chains) == [("H", "L"), ("L", "H")]
    assert found.tm_score == pytest.approx(1, abs=1e-4)


def test_other_chains_of_the_reference_do_not_count() -> None:
    far = changed(renamed(NANOBODY, {"N": "N"}), lambda point: point / 2)
    found = superposition.superpose(moved(FV, (1, 2, 3), (0, 0, 0)), far + FV)
    assert found.chains == [("H", "H"), ("L", "L")]
    assert found.tm_score == pytest.approx(1, abs=1e-4)
    assert {chain.name for chain in structures.read(found.text)[1]} == {"H", "L"}


def test_identical_chains_are_tried_in_every_order() -> None:
    def trimer(order: str) -> str:
        places = dict(zip(order, [(0, 0, 0), (30, 0, 0), (0, 45, 10)], strict=True))
        parts = [moved(renamed(NANOBODY, {"N": name}), (0, 0, 0), places[name]) for name in "ABC"]
        return "".join(parts)

    found = superposition.superpose(trimer("ABC"), trimer("CAB"))
    assert found.tm_score == pytest.approx(1, abs=1e-4)
    assert dict(found.chains) == {"A": "C", "B": "A", "C": "B"}


def test_named_chains_are_taken_as_named() -> None:
    found = superposition.superpose(FV, FV, [("H", "H")])
    assert (found.chains, len(found.pairs)) == ([("H", "H")], 127)


@pytest.mark.parametrize("chains", [[("Z", "H")], [("H", "Z")], []])
def test_a_chain_that_is_not_there_is_named(chains: list[tuple[str, str]]) -> None:
    with pytest.raises(SnakefoldError, match=r"are not in the (model|reference), which has \['H', 'L'\]"):
        superposition.superpose(FV, FV, chains)


def test_a_reference_with_too_few_chains_is_refused() -> None:
    with pytest.raises(SnakefoldError, match="The model has 2 chains, the reference 1"):
        superposition.superpose(FV, NANOBODY)


def test_too_few_residues_are_refused() -> None:
    few = "".join(f"{line}\n" for line in NANOBODY.splitlines()[:14])
    with pytest.raises(SnakefoldError, match="at least 5 residues"):
        superposition.superpose(few, NANOBODY)


def test_compare_writes_both_structures_and_the_scores(tmp_path: Path) -> None:
    model = structures.annotate(moved(FV, (1, 2, 3), (4, 5, 6)), rehearsal=True, key="0" * 64, engine="e 1")
    (tmp_path / "ranked_0.pdb").write_text(model)
    found = superposition.compare(tmp_path, REFERENCES / "7CTH-HL.pdb")
    assert found.tm_score == pytest.approx(1, abs=1e-4)
    assert found.rmsd == pytest.approx(0, abs=2e-3)
    written = (tmp_path / "superposed.pdb").read_text()
    assert "REHEARSAL" in written
    assert "7CTH-HL.pdb" in written
    assert sum(line.startswith("MODEL ") for line in written.splitlines()) == 2
    assert superposition.compare(tmp_path, REFERENCES / "7CTH-HL.pdb").text == found.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ranked_0.pdb", "superposed.pdb"]


def test_compare_names_the_file_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "ranked_0.pdb").write_text(FV)
    with pytest.raises(SnakefoldError, match=r"nowhere\.cif"):
        superposition.compare(tmp_path, tmp_path / "nowhere.cif")
    with pytest.raises(SnakefoldError, match=r"7CFN-N\.pdb: cannot be compared"):
        superposition.compare(tmp_path, REFERENCES / "7CFN-N.pdb")
